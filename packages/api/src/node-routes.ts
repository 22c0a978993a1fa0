// SPDX-License-Identifier: Apache-2.0
/** The routes of the node itself: members, seals, decisions, its store, and what it leaves out. */
import { MeshError } from "@ctxmesh/model";
import type {
  CareService,
  DecisionService,
  MembershipService,
  PartialService,
  SealingService,
} from "@ctxmesh/model";
import type { FastifyInstance } from "fastify";
import { parseDecisionRequest, parseOutcomeRequest } from "./decision-requests.ts";
import { IDEMPOTENT, idempotencyOf } from "./preconditions.ts";
import {
  parseActsRequest,
  parseBundleQuery,
  parseBundleSequence,
  parseEmptyRequest,
  parseFetchRequest,
  parseNoQuery,
  parseOmissionQuery,
  parseRewrapRequest,
  parseSealRequest,
} from "./requests.ts";

/** Installs what is known of members, and takes in acts. */
export function installMembershipRoutes(app: FastifyInstance, service: MembershipService): void {
  app.get("/v1/membership", (request) => {
    parseNoQuery(request.query);
    return service.membership();
  });
  app.post("/v1/membership", (request) => service.addActs(parseActsRequest(request.body)));
  app.get("/v1/space", (request, reply) => {
    parseNoQuery(request.query);
    return reply.type("application/json").send(Buffer.from(service.spaceFile()));
  });
  app.get("/v1/evidence", (request) => {
    parseNoQuery(request.query);
    return { evidence: service.evidence() };
  });
}

/** Installs seals and their bundles; without a service they refuse. */
export function installSealRoutes(app: FastifyInstance, sealing: SealingService | undefined): void {
  const sealer = (): SealingService => {
    if (sealing !== undefined) return sealing;
    throw new MeshError("INPUT_INVALID", "this node is an agent, and only a hub makes seals", {
      remedy: "use the socket of a hub",
    });
  };
  app.post("/v1/seals", (request) => sealer().seal(parseSealRequest(request.body ?? {})));
  app.get<{ Params: { sequence: string } }>("/v1/bundles/:sequence", async (request, reply) => {
    const { sequence } = request.params;
    const bytes = await sealer().bundle(
      parseBundleSequence(sequence),
      parseBundleQuery(request.query),
    );
    return reply
      .type("application/json")
      .send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  });
}

/** Installs decisions and outcomes; without a service they refuse. */
export function installDecisionRoutes(
  app: FastifyInstance,
  decisions: DecisionService | undefined,
): void {
  const recorder = (): DecisionService => {
    if (decisions !== undefined) return decisions;
    throw new MeshError("POLICY_REFUSED", "this node is a hub, and only an agent decides", {
      remedy: "use the socket of an agent",
    });
  };
  app.post("/v1/decisions", IDEMPOTENT, (request) =>
    recorder().decide(parseDecisionRequest(request.body), idempotencyOf(request.headers)),
  );
  app.post("/v1/outcomes", IDEMPOTENT, (request) => {
    const { of, outcome } = parseOutcomeRequest(request.body);
    return recorder().recordOutcome(of, outcome, idempotencyOf(request.headers));
  });
}

/** Installs the care of a store; none without a service. */
export function installCareRoutes(app: FastifyInstance, care: CareService | undefined): void {
  if (care === undefined) return;
  app.get("/v1/keys", (request) => {
    parseNoQuery(request.query);
    return care.keys();
  });
  app.post("/v1/keys/rotate", (request) => {
    parseEmptyRequest(request.body);
    return care.rotateKeys().then((ended) => ({ ended }));
  });
  app.post("/v1/keys/rewrap", (request) => care.rewrapKeys(parseRewrapRequest(request.body)));
  app.post("/v1/scrub", (request) => {
    parseEmptyRequest(request.body);
    return care.scrub();
  });
}

/** Installs what is left out, and fetching it; none without a service. */
export function installPartialRoutes(
  app: FastifyInstance,
  partial: PartialService | undefined,
): void {
  if (partial === undefined) return;
  app.get("/v1/omissions", (request) => partial.omissions(parseOmissionQuery(request.query)));
  app.post("/v1/fetches", (request) => partial.fetchOmitted(parseFetchRequest(request.body)));
}
