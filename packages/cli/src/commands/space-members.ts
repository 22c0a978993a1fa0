// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh space members`: who belongs to a space, what of each was accepted, and why not more. */
import type {
  ChainReport,
  GrantReport,
  InviteReport,
  MemberReport,
  MemberState,
  MembershipReport,
  RevocationReport,
} from "@ctxmesh/model";
import { reportMembership } from "@ctxmesh/service";
import { readSpace } from "../files.ts";
import {
  counted,
  createOutput,
  formatAge,
  formatTable,
  formatTime,
  printable,
  shortId,
} from "../output.ts";
import type { Output, Style } from "../output.ts";
import { withClient } from "../socket.ts";
import type { SpaceOptions } from "../space-source.ts";

/** Options of `ctxmesh space members`. */
export interface MembersOptions extends SpaceOptions {
  readonly chains?: boolean;
  readonly json?: boolean;
}

/** Prints what a daemon, or a space file, knows of the members. Throws what reading throws. */
export async function runMembers(options: MembersOptions): Promise<void> {
  const report = await readReport(options);
  const output = createOutput(options);
  if (output.json) {
    await output.line(JSON.stringify(report));
    return;
  }
  for (const line of renderMembers(report, output, options.chains === true)) {
    await output.line(line);
  }
}

async function readReport(options: MembersOptions): Promise<MembershipReport> {
  if (options.space === undefined) {
    return withClient(options.socket, "agent", (client) => client.membership());
  }
  const space = await readSpace(options.space);
  return reportMembership(space, { digest: space.digest, chains: [] }, Date.now());
}

const WHY_VOID: Readonly<Record<NonNullable<ChainReport["reason"]>, string>> = {
  revoked: "beyond what its revocation keeps",
  equivocation: "its chain is forked",
  grant: "its grant has no effect",
  content: "one of them holds what it must not",
  waiting: "they wait for one that is not here",
};

const STATE_STYLES: Readonly<Record<MemberState, Style>> = {
  active: "green",
  expiring: "yellow",
  expired: "red",
  upcoming: "dim",
  revoked: "red",
};

/** What of a device's chains counts. */
interface Account {
  readonly accepted: number;
  readonly void: number;
  /** Why, each once. */
  readonly why: readonly string[];
}

function accountOf(chains: readonly ChainReport[]): Account {
  const why = new Set<string>();
  let [accepted, discarded] = [0, 0];
  for (const chain of chains) {
    accepted += chain.seq;
    discarded += chain.void;
    if (chain.void > 0 && chain.reason !== undefined) why.add(WHY_VOID[chain.reason]);
  }
  return { accepted, void: discarded, why: [...why] };
}

const voidText = ({ void: discarded, why }: Account): string =>
  discarded === 0 ? "-" : `${String(discarded)} void: ${why.join(", ")}`;

/** Whose key issued a grant, for people. */
function issuer({ by, invited }: GrantReport, creators: readonly string[]): string {
  if (invited) return `invite ${shortId(by)}`;
  return creators.includes(by) ? `creator ${shortId(by)}` : shortId(by);
}

const HEAD = [
  "device",
  "service",
  "role",
  "state",
  "until",
  "granted by",
  "accepted",
  "not accepted",
];

function memberRow(member: MemberReport, account: Account, creators: readonly string[]): string[] {
  const last = member.grants.at(-1);
  return [
    shortId(member.device),
    member.service,
    member.role,
    member.state,
    member.state === "revoked" ? "-" : formatTime(member.until),
    last === undefined ? "-" : issuer(last, creators),
    String(account.accepted),
    voidText(account),
  ];
}

/** The lines of a report. */
export function renderMembers(
  report: MembershipReport,
  output: Pick<Output, "style">,
  withChains: boolean,
): string[] {
  const { creators, members, revocations, invites, filtered } = report;
  const byDevice = Map.groupBy(report.chains, ({ device }) => device);
  const accounts = new Map([...byDevice].map(([device, chains]) => [device, accountOf(chains)]));
  const nothing: Account = { accepted: 0, void: 0, why: [] };
  const strangers = [...accounts].filter(
    ([device]) => !members.some((member) => member.device === device),
  );
  const rows = [
    ...members.map((member) => memberRow(member, accounts.get(member.device) ?? nothing, creators)),
    ...strangers.map(([device, account]) => [
      shortId(device),
      "-",
      "-",
      "no grant",
      "-",
      "-",
      String(account.accepted),
      voidText(account),
    ]),
  ];
  const [head = "", ...lines] = formatTable([HEAD, ...rows]);
  const styled = lines.map((line, index) => {
    const state = members[index]?.state ?? "expired";
    return state === "active" ? line : output.style(STATE_STYLES[state], line);
  });
  return [
    `space ${printable(report.name)} (${shortId(report.space)}), policy epoch ${String(report.policyEpoch)}, acts and forks ${report.digest.slice(0, 16)}`,
    `creators: ${creators.map(shortId).join(", ")}`,
    "",
    output.style("dim", head.trimEnd()),
    ...(withChains
      ? styled.flatMap((line, index) => [
          line,
          ...chainLines(
            byDevice.get(members[index]?.device ?? strangers[index - members.length]?.[0] ?? ""),
          ),
        ])
      : styled),
    ...section(
      "revoked, for ever:",
      revocations.map((revocation) => describeRevocation(revocation, invites)),
    ),
    ...section("invites:", invites.map(describeInvite)),
    ...section(
      "acts without effect:",
      filtered.map(
        ({ kind, author, time, problem }) =>
          `${kind} by ${shortId(author)} of ${formatTime(time)}: ${printable(problem)}`,
      ),
    ),
  ];
}

const section = (title: string, lines: readonly string[]): readonly string[] =>
  lines.length === 0 ? [] : ["", title, ...lines.map((line) => `  ${line}`)];

function chainLines(chains: readonly ChainReport[] = []): readonly string[] {
  const newestFirst = chains.toSorted((a, b) => (b.lastMs ?? 0) - (a.lastMs ?? 0));
  return newestFirst.map(({ incarnation, seq, lastMs, void: discarded, reason }) => {
    const counts =
      lastMs === undefined
        ? "nothing counts"
        : `counts up to ${String(seq)}, ${formatAge(Date.now() - lastMs)} ago`;
    const rest =
      discarded === 0
        ? ""
        : `; ${String(discarded)} void: ${reason === undefined ? "unknown" : WHY_VOID[reason]}`;
    return `  chain ${shortId(incarnation)} ${counts}${rest}`;
  });
}

function describeRevocation(
  { device, time, reason, by, kept }: RevocationReport,
  invites: readonly InviteReport[],
): string {
  const why = reason === "" ? "" : `: ${printable(reason)}`;
  const isInvite = invites.some(({ key }) => key === device);
  const stands = kept === 0 ? "nothing of it stands" : `a part of ${counted(kept, "chain")} stands`;
  const what = isInvite ? "an invite, who joined with it stays" : stands;
  return `${shortId(device)} by ${by.map(shortId).join(", ")} on ${formatTime(time)}, ${what}${why}`;
}

function describeInvite({ key, role, service, notAfter, state, joined, by }: InviteReport): string {
  const what = `${shortId(key)} to ${role} as ${service}, by ${shortId(by)}`;
  const who = joined.length === 0 ? "nobody joined" : `joined: ${joined.map(shortId).join(", ")}`;
  return `${what}, ${state === "open" ? `open until ${formatTime(notAfter)}` : state}; ${who}`;
}
