// SPDX-License-Identifier: Apache-2.0
/** The command line of membership, policy and evidence. */
import { Option } from "commander";
import type { Command } from "commander";
import type { EvidenceOptions, EvidenceVerifyOptions } from "./commands/evidence.ts";
import type { PolicyOptions, PolicySetOptions, PolicyShowOptions } from "./commands/policy.ts";
import type { CreateOptions } from "./commands/space-create.ts";
import type { GrantOptions, RenewOptions } from "./commands/space-grant.ts";
import type { InviteOptions } from "./commands/space-invite.ts";
import type { JoinOptions } from "./commands/space-join.ts";
import type { MembersOptions } from "./commands/space-members.ts";
import type { RevokeOptions } from "./commands/space-revoke.ts";
import { addModuleCommands } from "./program-modules.ts";
import { collect, examples, jsonOption, wholeNumber } from "./program-parts.ts";

const WHERE_HELP = `
Which space: that of a running daemon (--socket, else the variable CTXMESH_SOCKET, else agent-1/agent.sock
or agent.sock here), which passes the change on at once; or with --space that of a file. A node that
starts with a changed file passes the change on, too.`;
const DEVICE_HELP =
  "\nA device is named by its key, 64 hex digits, or the first 8 or more of a known one:\nctxmesh space members shows them.";

const ROLES = ["read", "append", "write", "manage"];
const SERVICES = ["agent", "hub"];

const daysOption = (): Option =>
  new Option("--days <n>", "how long the grant lives")
    .default(30)
    .argParser(wholeNumber("--days", 1, 3_650));

/** A command that changes a space by a signed act. */
const changing = (space: Command, definition: string, description: string): Command =>
  space
    .command(definition)
    .description(description)
    .requiredOption("-k, --key <file>", "the key of a creator, or of a device with the role manage")
    .option("-s, --socket <path>", "Unix socket of a daemon of the space")
    .addOption(new Option("--space <file>", "the space file to change").conflicts("socket"))
    .addOption(jsonOption())
    .addHelpText("after", WHERE_HELP);

function addInvite(space: Command): void {
  changing(space, "invite", "make a token with which an agent can join")
    .addOption(new Option("--role <role>", "what it may do").choices(ROLES).default("write"))
    .option("--expires <duration>", "how long the token is good for: 30m, 24h, 7d", "24h")
    .addOption(
      new Option(
        "--contact <address@device>",
        "where to join: a multiaddress or a WebSocket URL, and the device there (default: the daemon's own); may be repeated",
      ).argParser(collect),
    )
    .option("-q, --quiet", "print nothing but the token")
    .addHelpText(
      "after",
      examples(
        "ctxmesh space invite --key creator/creator.jwk",
        "ctxmesh space invite --key creator/creator.jwk --role read --expires 1h --quiet | ssh gateway-7 ctxmesh space join - plant",
      ) +
        "\n\nWhoever has the token can join until it expires or is revoked (ctxmesh space revoke), more than\nonce: treat it as a password.",
    )
    .action(async (options: InviteOptions) =>
      (await import("./commands/space-invite.ts")).runInvite(options),
    );
}

function addJoin(space: Command): void {
  space
    .command("join <token> <dir>")
    .description("join a space as a new agent, and make its folder")
    .option("--timeout <duration>", "how long to wait for a contact", "15s")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh space join - plant < token.txt",
        "ctxmesh space join ctxmesh-invite1.pWF2AWVzcGFjZ... plant",
      ) +
        "\n\nThe token - is read from stdin, and so gets into no shell history and no list of processes. The\nfolder gets space.json, device.jwk (mode 0600), agent.yaml and its schema.",
    )
    .action(async (token: string, dir: string, options: JoinOptions) =>
      (await import("./commands/space-join.ts")).runJoin(token, dir, options),
    );
}

function addCreateAndMembers(space: Command): void {
  space
    .command("create <name>")
    .description("found a space: its creator's key, its file, and a first agent")
    .requiredOption("-o, --out <dir>", "folder to fill")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples("ctxmesh space create plant --out plant") +
        "\n\nctxmesh init makes a whole local mesh, with a hub, at once.",
    )
    .action(async (name: string, options: CreateOptions) =>
      (await import("./commands/space-create.ts")).runCreate(name, options),
    );
  space
    .command("members")
    .description("who belongs to the space, what was accepted of each, and why not more")
    .option("-s, --socket <path>", "Unix socket of a daemon of the space")
    .addOption(new Option("--space <file>", "read a space file instead").conflicts("socket"))
    .option("--chains", "every process life of every device")
    .addOption(jsonOption())
    .addHelpText("after", WHERE_HELP)
    .addHelpText(
      "after",
      examples(
        "ctxmesh space members",
        "ctxmesh space members --socket agent-2/agent.sock --chains",
      ),
    )
    .action(async (options: MembersOptions) =>
      (await import("./commands/space-members.ts")).runMembers(options),
    );
}

function addGrantCommands(space: Command): void {
  changing(space, "grant <device>", "let a device take part, or go on doing so")
    .addOption(new Option("--role <role>", "what it may do (default: as before)").choices(ROLES))
    .addOption(
      new Option("--service <service>", "what it runs (default: as before, else agent)").choices(
        SERVICES,
      ),
    )
    .addOption(daysOption())
    .addHelpText("after", DEVICE_HELP)
    .addHelpText(
      "after",
      examples(
        "ctxmesh space grant 3fa9c21b --key creator/creator.jwk",
        "ctxmesh space grant 3fa9c21b... --role read --service hub --days 90 --key creator/creator.jwk",
      ) +
        "\n\nA device that has a grant gets one that follows it without a gap: what it wrote in between, and\nwas held, then applies. A lesser role holds once the grants with a greater one have ended.",
    )
    .action(async (device: string, options: GrantOptions) =>
      (await import("./commands/space-grant.ts")).runGrant(device, options),
    );
  changing(space, "renew [device...]", "let devices go on as before")
    .option("--all", "every member that is not revoked")
    .addOption(daysOption())
    .addHelpText("after", DEVICE_HELP)
    .addHelpText(
      "after",
      examples(
        "ctxmesh space renew --all --key creator/creator.jwk",
        "ctxmesh space renew 3fa9c21b 77aa01bc --days 7 --key creator/creator.jwk",
      ),
    )
    .action(async (devices: readonly string[], options: RenewOptions) =>
      (await import("./commands/space-grant.ts")).runRenew(devices, options),
    );
}

function addRevoke(space: Command): void {
  changing(space, "revoke <device>", "shut a device or an invite out, for ever")
    .option("--reason <text>", "why, for whoever looks later", "")
    .addOption(
      new Option(
        "--keep <what>",
        "what of its batches stands: those that the daemon has seen, or none",
      )
        .choices(["seen", "nothing"])
        .default("seen"),
    )
    .addHelpText("after", DEVICE_HELP)
    .addHelpText(
      "after",
      examples(
        `ctxmesh space revoke 77aa01bc --key creator/creator.jwk --reason "gateway stolen"`,
        "ctxmesh space revoke 77aa01bc --key creator/creator.jwk --keep nothing",
      ) + "\n\nThe key can't come back; a device that should goes through a new invite.",
    )
    .action(async (device: string, options: RevokeOptions) =>
      (await import("./commands/space-revoke.ts")).runRevoke(device, options),
    );
}

/** `ctxmesh space`. */
export function addSpaceCommands(program: Command): void {
  const space = program
    .command("space")
    .description("who belongs to a space: found it, invite, join, grant, revoke")
    .addHelpText(
      "after",
      examples(
        "ctxmesh space create plant --out plant",
        "ctxmesh space invite --key creator/creator.jwk",
        "ctxmesh space join - plant-2 < token.txt",
        "ctxmesh space members",
      ) + "\n\ndocs/MEMBERSHIP.md is the guide.",
    );
  addCreateAndMembers(space);
  addInvite(space);
  addJoin(space);
  addGrantCommands(space);
  addRevoke(space);
}

/** `ctxmesh evidence`. */
export function addEvidenceCommands(program: Command): void {
  const evidence = program
    .command("evidence")
    .description("proofs that a device signed two histories")
    .addHelpText(
      "after",
      examples(
        "ctxmesh evidence",
        "ctxmesh evidence --out forks.json",
        "ctxmesh evidence verify forks.json",
      ),
    );
  evidence
    .command("list", { isDefault: true })
    .description("the forked chains that a daemon has proof of (the default)")
    .option("-s, --socket <path>", "Unix socket of the daemon")
    .option("-o, --out <file>", "save the proofs in a file that convinces by itself")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples("ctxmesh evidence --socket agent-2/agent.sock", "ctxmesh evidence --out forks.json"),
    )
    .action(async (options: EvidenceOptions) =>
      (await import("./commands/evidence.ts")).runEvidence(options),
    );
  evidence
    .command("verify <file>")
    .description("verify a file of proofs, offline and with nothing else")
    .addOption(jsonOption())
    .addHelpText("after", examples("ctxmesh evidence verify forks.json"))
    .action(async (file: string, options: EvidenceVerifyOptions) =>
      (await import("./commands/evidence.ts")).verifyEvidence(file, options),
    );
}

/** `ctxmesh policy`. */
export function addPolicyCommands(program: Command): void {
  const policy = program
    .command("policy")
    .description("which of the statements about a key is shown")
    .addHelpText(
      "after",
      examples(
        "ctxmesh policy show space.json",
        "ctxmesh policy check policy.yaml",
        "ctxmesh policy set policy.yaml --space space.json --key creator/creator.jwk",
      ) +
        "\n\nA policy file:\n  rules:\n    - prefix: telemetry/\n      resolver: confidence\n      halfLifeMs: 600000\n\nThe longest matching prefix of the key decides, latest where none matches. docs/POLICY.md has\nthe resolvers.",
    );
  policy
    .command("show")
    .description("print the policy of a space file, or of a running daemon")
    .argument("[space]", "the space file", "space.json")
    .option("-s, --socket <path>", "Unix socket of a daemon of the space, instead of a file")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh policy show space.json > policy.yaml",
        "ctxmesh policy show --socket agent-1/agent.sock",
      ),
    )
    .action(async (space: string, options: PolicyShowOptions) =>
      (await import("./commands/policy.ts")).showPolicy(space, options),
    );
  policy
    .command("check <policy>")
    .description("say what is wrong with a policy file, or that nothing is")
    .addOption(jsonOption())
    .addHelpText("after", examples("ctxmesh policy check policy.yaml"))
    .action(async (file: string, options: PolicyOptions) =>
      (await import("./commands/policy.ts")).checkPolicy(file, options),
    );
  addPolicySet(policy);
  addModuleCommands(policy);
}

function addPolicySet(policy: Command): void {
  policy
    .command("set <policy>")
    .description("sign a policy, for a running mesh or into a space file")
    .addOption(
      new Option("-s, --socket <path>", "Unix socket of a daemon of the space").conflicts("space"),
    )
    .option("--space <file>", "the space file to change", "space.json")
    .option(
      "-k, --key <file>",
      "the key of a creator, or of a device with the role manage",
      "creator/creator.jwk",
    )
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh policy set policy.yaml --socket agent-1/agent.sock",
        "ctxmesh policy set policy.yaml --space space.json --key creator/creator.jwk",
      ) +
        "\n\nThe epoch is the next one unless the file has a higher one. With --socket the policy holds at once\nand travels to every node; in a file it does so once a node starts with that.",
    )
    .action(async (file: string, options: PolicySetOptions) =>
      (await import("./commands/policy.ts")).runPolicySet(file, options),
    );
}
