// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh space grant` and `renew`. */
import { allows, issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { MeshError, parseDeviceKey } from "@ctxmesh/model";
import type { DeviceKey, MemberRole } from "@ctxmesh/model";
import { createOutput, formatTime, shortId } from "../output.ts";
import { findKey, readSigner, whereItGoes, withSpace } from "../space-source.ts";
import type { OpenSpace, SpaceOptions } from "../space-source.ts";

/** Options of commands that sign an act. */
export interface ChangeOptions extends SpaceOptions {
  readonly key: string;
  readonly json?: boolean;
}

/** Options of `ctxmesh space grant`. */
export interface GrantOptions extends ChangeOptions {
  readonly role?: MemberRole;
  readonly service?: "agent" | "hub";
  readonly days: number;
}

/** Options of `ctxmesh space renew`. */
export interface RenewOptions extends ChangeOptions {
  readonly all?: boolean;
  readonly days: number;
}

type Terms = Pick<GrantOptions, "role" | "service" | "days">;

interface Issued {
  readonly grant: {
    readonly device: DeviceKey;
    readonly service: "agent" | "hub";
    readonly role: MemberRole;
    readonly notBefore: number;
    readonly notAfter: number;
  };
  /** End of the grant before, Unix milliseconds. */
  readonly follows: number | undefined;
}

const DAY_MS = 86_400_000;

/** The terms of a device's next grant: from now, or from the end of its last one where that has passed. */
function nextGrant(space: Space, device: DeviceKey, terms: Terms, now: number): Issued {
  const last = (space.grants.get(device) ?? []).toSorted((a, b) => b.notAfter - a.notAfter)[0];
  const role = terms.role ?? last?.role;
  if (role === undefined) {
    throw new MeshError("USAGE", `which role? ${shortId(device)} has none yet`, {
      field: "--role",
      remedy: "give --role read, append, write or manage",
    });
  }
  return {
    grant: {
      device,
      service: terms.service ?? last?.service ?? "agent",
      role,
      notBefore: last === undefined ? now : Math.min(now, last.notAfter),
      notAfter: now + terms.days * DAY_MS,
    },
    follows: last?.notAfter,
  };
}

/** Grants a device a role, or goes on with what it has. Throws `USAGE`, `NOT_FOUND`, `POLICY_REFUSED`, and what reading and handing over throw. */
export async function runGrant(text: string, options: GrantOptions): Promise<void> {
  const signer = await readSigner(options.key);
  await withSpace(options, async (open) => {
    const { space } = open;
    const known = [...space.grants.keys(), ...space.revocations.keys()];
    const device = parseDeviceKey(findKey(text, known, "device") ?? text.toLowerCase());
    const now = Date.now();
    const issued = nextGrant(space, device, options, now);
    const { grant } = issued;
    const [act] = await open.submit(issueGrant(space, signer, { ...grant, now }));
    const output = createOutput(options);
    if (output.json) {
      await output.line(JSON.stringify({ ...grant, act: act?.id }));
      return;
    }
    await output.line(describe(issued, now));
    const longer = stronger(space, device, grant.role, now);
    if (longer !== undefined) {
      await output.line(
        `an earlier grant with the role ${longer.role} holds until ${formatTime(longer.notAfter)}`,
      );
    }
    await output.line(whereItGoes(open));
  });
}

function describe({ grant, follows }: Issued, now: number): string {
  const { device, service, role, notAfter } = grant;
  const since =
    follows === undefined
      ? ""
      : follows < now
        ? `, from ${formatTime(follows)} on, when the last one ended`
        : `; the last one would have ended ${formatTime(follows)}`;
  return `${shortId(device)} may ${role} as ${service === "hub" ? "a hub" : "an agent"} until ${formatTime(notAfter)}${since}`;
}

/** A present grant that lets the device do more. */
const stronger = (
  space: Space,
  device: DeviceKey,
  role: MemberRole,
  now: number,
): { readonly role: MemberRole; readonly notAfter: number } | undefined =>
  space.grants.get(device)?.find((one) => one.notAfter > now && !allows(role, one.role));

/** Lets devices go on as before. Throws as {@link runGrant}. */
export async function runRenew(texts: readonly string[], options: RenewOptions): Promise<void> {
  if ((texts.length === 0) === (options.all !== true)) {
    throw new MeshError(
      "USAGE",
      options.all ? "--all leaves no device to name" : "which devices?",
      {
        remedy: "name devices, or give --all",
      },
    );
  }
  const signer = await readSigner(options.key);
  await withSpace(options, async (open) => {
    const now = Date.now();
    const devices = options.all === true ? [...open.space.grants.keys()] : named(texts, open);
    const issued = devices.map((device) =>
      nextGrant(open.space, device, { days: options.days }, now),
    );
    const changed = issued.reduce(
      (space, { grant }) => issueGrant(space, signer, { ...grant, now }),
      open.space,
    );
    await open.submit(changed);
    const output = createOutput(options);
    if (output.json) {
      await output.line(JSON.stringify({ grants: issued.map(({ grant }) => grant) }));
      return;
    }
    for (const one of issued) await output.line(describe(one, now));
    await output.line(whereItGoes(open));
  });
}

function named(texts: readonly string[], { space }: OpenSpace): readonly DeviceKey[] {
  const devices = texts.map((text) => {
    const found = findKey(text, space.grants.keys(), "device");
    if (found !== undefined) return parseDeviceKey(found);
    throw new MeshError("NOT_FOUND", `${text} is not a member of the space`, {
      remedy: "admit it: ctxmesh space grant",
    });
  });
  return [...new Set(devices)];
}
