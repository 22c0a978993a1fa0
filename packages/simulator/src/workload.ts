// SPDX-License-Identifier: Apache-2.0
/** What clients and administrators do with nodes: planned steps as calls of the real services. */
import { encodeSignedRecord } from "@ctxmesh/codec";
import { issueGrant, issueInvite, revokeDevice, setPolicy } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { parseDocumentName, toMeshError } from "@ctxmesh/model";
import type { FactInput, WriteReceipt } from "@ctxmesh/model";
import { publishEntry } from "@ctxmesh/service";
import type { Cluster } from "./cluster.ts";
import type { SimNode } from "./node.ts";
import type { MemberStep, WorkStep } from "./plan.ts";
import type { Acknowledged } from "./world.ts";

type StepOf<Name extends WorkStep["do"]> = WorkStep & { readonly do: Name };

const DAY_MS = 86_400_000;
const ACK_MS = 600_000;

/** Whatever goes wrong is the answer that the client gets; of a call that never ends it hears nothing. */
function asked(cluster: Cluster, node: SimNode, what: string, made: Promise<void>): void {
  made.catch((error: unknown) => {
    const { code } = toMeshError(error);
    cluster.count(`refused ${code}`);
    cluster.emit({ type: "refused", node: node.id, what, code });
  });
}

/** Takes a step of a client; nothing happens at a node that is down or stands still. */
export function work(cluster: Cluster, step: WorkStep): void {
  const node = cluster.node(step.node);
  if (node?.process === undefined || node.isPaused) {
    cluster.count("unavailable");
    return;
  }
  cluster.count(step.do);
  node.deliver(() => {
    if (step.do === "read") read(cluster, node, step);
    else if (step.do === "ask") asked(cluster, node, "ask", ask(cluster, node, step));
    else if (step.do === "set") asked(cluster, node, "set", set(cluster, node, step));
    else if (step.do === "seal") asked(cluster, node, "seal", seal(cluster, node));
    else asked(cluster, node, step.do, write(cluster, node, step));
  });
}

function read(cluster: Cluster, node: SimNode, { client, doc, key }: StepOf<"read">): void {
  const fact = node.process?.service.get(doc, key);
  cluster.emit({ type: "read", node: node.id, client, doc, key, fact });
}

async function ask(cluster: Cluster, node: SimNode, step: StepOf<"ask">): Promise<void> {
  const { doc, key, consistency, maxStalenessMs } = step;
  const askedMs = cluster.nowMs;
  const level = { consistency, ...(maxStalenessMs === undefined ? {} : { maxStalenessMs }) };
  const answer = await node.process?.levels.read(doc, key, level);
  if (answer === undefined) return;
  cluster.emit({ type: "answered", node: node.id, step, askedMs, answer });
}

async function set(cluster: Cluster, node: SimNode, step: StepOf<"set">): Promise<void> {
  const { process } = node;
  if (process === undefined) return;
  const { doc, key, value } = step;
  const expected = process.service.get(doc, key)?.version ?? null;
  const setting = process.levels.compareAndSet(doc, { key, value }, expected, {
    consistency: "strong",
  });
  const outcome = await setting.then(
    (receipt) => ({ receipt }),
    (error: unknown) => ({ code: toMeshError(error).code }),
  );
  if ("code" in outcome) cluster.count(`refused ${outcome.code}`);
  cluster.emit({ type: "decided", node: node.id, step, expected, ...outcome });
}

async function seal(cluster: Cluster, node: SimNode): Promise<void> {
  const sealing = node.process?.sealing;
  if (sealing === undefined) return;
  const receipt = await sealing.seal().catch(async (error: unknown) => {
    if (toMeshError(error).code !== "SEALING_UNSAFE") throw error;
    // The operator of a hub that was restored or healed looks for the newest seal that anybody has.
    const numbers = cluster.seals.map((known) =>
      known.node === node.id ? known.receipt.sequence : 0,
    );
    return sealing.seal({ after: Math.max(0, ...numbers) });
  });
  const bundle = await sealing.bundle(receipt.sequence);
  const made = { atMs: cluster.nowMs, node: node.id, receipt, bundle };
  cluster.seals.push(made);
  cluster.emit({ type: "sealed", node: node.id, seal: made });
}

type WriteStep = Exclude<WorkStep, StepOf<"ask" | "read" | "seal" | "set">>;

async function write(cluster: Cluster, node: SimNode, step: WriteStep): Promise<void> {
  const { process } = node;
  if (process === undefined) return;
  const receipt = await carryOut(cluster, process, step);
  const said: Acknowledged = {
    id: cluster.acknowledged.length,
    atMs: cluster.nowMs,
    node: node.id,
    device: node.device,
    what: step.do,
    doc: step.doc,
    ...("key" in step ? { key: step.key } : {}),
    ...("value" in step ? { value: step.value } : {}),
    ...("ttlMs" in step ? { ttlMs: step.ttlMs } : {}),
    receipt,
  };
  cluster.acknowledged.push(said);
  cluster.emit({ type: "acknowledged", node: node.id, write: said });
}

async function carryOut(
  cluster: Cluster,
  { service, replica }: NonNullable<SimNode["process"]>,
  step: WriteStep,
): Promise<WriteReceipt> {
  switch (step.do) {
    case "put":
      return service.put(step.doc, [factOf(step)], {
        ...(step.ack === undefined ? {} : { ack: step.ack, timeoutMs: ACK_MS }),
        ...(step.priority === undefined ? {} : { priority: step.priority }),
      });
    case "delete":
      return service.delete(step.doc, [step.key]);
    case "retract":
      return service.retract(step.doc, step.key, cluster.deviceOf(step.of), "simulated");
    case "edit":
      return replica.edit(parseDocumentName(step.doc), (roots) => {
        const text = roots.text("notes");
        const at = Math.min(step.at, text.length);
        const remove = Math.min(step.remove, text.length - at);
        if (remove > 0) text.delete(at, remove);
        if (step.text !== "") text.insert(at, step.text);
      });
  }
}

function factOf({ key, value, confidence, source, ttlMs, increment }: StepOf<"put">): FactInput {
  return {
    key,
    value,
    ...(confidence === undefined ? {} : { confidence }),
    ...(source === undefined ? {} : { source }),
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(increment === undefined ? {} : { increment }),
  };
}

/** Takes a step of an administrator at a node; nothing happens at one that is down or stands still. */
export function administer(cluster: Cluster, step: MemberStep): void {
  const node = cluster.node(step.node);
  if (node?.process === undefined || node.isPaused) {
    cluster.count("unavailable");
    return;
  }
  cluster.count(step.do);
  node.deliver(() => {
    asked(
      cluster,
      node,
      step.do,
      submit(node, (space) => changed(cluster, node, step, space)),
    );
  });
}

/** Hands in the acts by which a space differs from what a node knows. */
async function submit(node: SimNode, change: (space: Space) => Space): Promise<void> {
  const { process } = node;
  if (process === undefined) return;
  const before = process.replica.space;
  const known = new Set(before.acts.map(({ id }) => id));
  const acts = change(before)
    .acts.filter(({ id }) => !known.has(id))
    .map(({ record }) => encodeSignedRecord(record));
  await process.service.addActs(acts);
}

function changed(cluster: Cluster, node: SimNode, step: MemberStep, space: Space): Space {
  const now = node.clock.now();
  const { creator } = cluster;
  switch (step.do) {
    case "renew":
      return renewed(cluster, space, step.device, now, step.forMs);
    case "revoke": {
      const device = cluster.deviceOf(step.device);
      const heads = step.keep
        ? (node.process?.replica.heads() ?? []).filter(({ replica }) => replica === device)
        : [];
      const { signer } = step.by === "creator" ? creator : cluster.identityOf(step.by);
      return revokeDevice(space, signer, { device, heads, reason: "simulated", now });
    }
    case "policy":
      return setPolicy(
        space,
        creator.signer,
        { epoch: space.knownEpoch + 1, rules: step.rules },
        now,
      );
    case "schema": {
      const { prefix, version, most } = step;
      const schema = { type: "integer", minimum: 0, maximum: most };
      return publishEntry(space, creator.signer, { prefix, version, schema }, now).space;
    }
    case "invite":
      return issueInvite(space, creator.signer, {
        key: cluster.deviceOf(step.invite),
        service: "agent",
        role: "write",
        now,
        notAfter: now + step.forMs,
      });
    case "join":
      // As acceptInvite does it, with the signatures of the run.
      return issueGrant(space, cluster.identityOf(step.invite).signer, {
        device: cluster.deviceOf(step.device),
        service: "agent",
        role: "write",
        notBefore: now,
        notAfter: now + DAY_MS,
        now,
      });
  }
}

/** The space with a grant for a device of the plan that covers all of the run so far, and some more. */
function renewed(cluster: Cluster, space: Space, name: string, now: number, forMs: number): Space {
  const planned = cluster.plan.nodes.find(({ id }) => id === name);
  return issueGrant(space, cluster.creator.signer, {
    device: cluster.deviceOf(name),
    service: planned?.service ?? "agent",
    role: planned?.role ?? "write",
    notBefore: now - DAY_MS,
    notAfter: now + forMs,
    now,
  });
}
