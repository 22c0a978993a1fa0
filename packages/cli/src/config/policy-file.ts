// SPDX-License-Identifier: Apache-2.0
/**
 * A space's policy as people write it: YAML with the list `rules`, and `epoch` where it is not simply the
 * next one. What a rule may hold is for `parsePolicy`; here its errors get the rule and the line.
 */
import { parsePolicy } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { MeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { stringify } from "yaml";
import { readSmallFile } from "../files.ts";
import { keyOffset, offsetOf, parseYaml, refuseProblems } from "./yaml-file.ts";
import type { Path, Problem, YamlFile } from "./yaml-file.ts";

/** Rules and their epoch. */
export type Policy = Space["policy"];

/** Reads a policy file. Throws `FILE_UNAVAILABLE`, `LIMIT_EXCEEDED` or `CONFIG_INVALID`. */
export async function loadPolicy(file: string, presentEpoch: number): Promise<Policy> {
  return parsePolicyFile(
    await readSmallFile(file, "policy", "FILE_UNAVAILABLE"),
    file,
    presentEpoch,
  );
}

/** Parses a policy file's text; its epoch is the one after `presentEpoch` unless it says another. Throws `CONFIG_INVALID`. */
export function parsePolicyFile(text: string, file: string, presentEpoch: number): Policy {
  const yaml = parseYaml(text, file);
  const { value, document } = yaml;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return refuse(yaml, [{ offset: 0, message: 'a policy is a mapping with the key "rules"' }]);
  }
  const policy: Readonly<Record<string, unknown>> = { epoch: presentEpoch + 1, ...value };
  const rules: readonly unknown[] = Array.isArray(policy["rules"]) ? policy["rules"] : [];
  const problems = rules.flatMap((rule, index) => problemsOfRule(rule, index, yaml));
  refuseProblems(yaml, [...problems, ...repeatedPrefixes(rules, yaml)]);
  try {
    return parsePolicy(policy as JsonValue);
  } catch (error) {
    const message = messageOf(error);
    const unknown = /unknown member (.*)$/u.exec(message)?.[1];
    const name = /^(?:epoch|rules)/u.exec(message)?.[0];
    const offset =
      unknown === undefined
        ? offsetOf(name === undefined ? [] : [name], document)
        : keyOffset([], unknown, document);
    return refuse(yaml, [{ offset, message }]);
  }
}

function refuse(yaml: YamlFile, problems: readonly Problem[]): never {
  refuseProblems(yaml, problems);
  throw new MeshError("INTERNAL", "a refusal without a problem");
}

/** The first line of an error about the policy, without saying so; anything else is no answer to a wrong file. */
function messageOf(error: unknown): string {
  if (!(error instanceof MeshError)) throw error;
  const [line = ""] = error.message.split("\n");
  return line.replace(/^policy: /u, "");
}

/** What is wrong with a rule by itself. */
function problemsOfRule(rule: unknown, index: number, { document }: YamlFile): readonly Problem[] {
  try {
    parsePolicy({ epoch: 1, rules: [rule as JsonValue] });
    return [];
  } catch (error) {
    const own = messageOf(error);
    const at: Path = ["rules", index];
    const named = `rules[${String(index)}]`;
    const message = own.startsWith("rules[0]")
      ? own.replace("rules[0]", named)
      : `${named}: ${own}`;
    const unknown = /unknown member (.*)$/u.exec(own)?.[1];
    if (unknown !== undefined) return [{ offset: keyOffset(at, unknown, document), message }];
    const member =
      /^rules\[0\]\.(\w+)/u.exec(own)?.[1] ??
      (error instanceof MeshError && error.field !== "policy" ? error.field : undefined);
    return [{ offset: offsetOf(member === undefined ? at : [...at, member], document), message }];
  }
}

function repeatedPrefixes(rules: readonly unknown[], { document }: YamlFile): readonly Problem[] {
  const first = new Map<unknown, number>();
  return rules.flatMap((rule, index) => {
    const prefix: unknown =
      typeof rule === "object" && rule !== null && "prefix" in rule ? rule.prefix : undefined;
    if (typeof prefix !== "string") return [];
    const earlier = first.get(prefix);
    if (earlier === undefined) {
      first.set(prefix, index);
      return [];
    }
    const offset = offsetOf(["rules", index, "prefix"], document);
    const message = `rules[${String(index)}].prefix ${JSON.stringify(prefix)} is that of rules[${String(earlier)}]; a prefix has one rule`;
    return [{ offset, message }];
  });
}

/** A policy's rules as a file that {@link loadPolicy} reads, without the epoch. */
export const renderPolicy = ({ rules }: Policy): string => stringify({ rules });
