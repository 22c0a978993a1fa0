// SPDX-License-Identifier: Apache-2.0
/** A scenario file: YAML, checked by the simulator, whose problems get their lines here. */
import { MeshError } from "@ctxmesh/model";
import { parseScenario } from "@ctxmesh/simulator";
import type { Scenario, ScenarioProblem } from "@ctxmesh/simulator";
import { readSmallFile } from "../files.ts";
import { suggest } from "./suggest.ts";
import { keyOffset, offsetOf, parseYaml, refuseProblems } from "./yaml-file.ts";
import type { Problem, YamlFile } from "./yaml-file.ts";

/** Reads a scenario file. Throws `FILE_UNAVAILABLE`, `LIMIT_EXCEEDED` or `CONFIG_INVALID`. */
export async function loadScenario(file: string): Promise<Scenario> {
  return parseScenarioFile(await readSmallFile(file, "scenario", "FILE_UNAVAILABLE"), file);
}

/** Parses a scenario file's text. Throws `CONFIG_INVALID` with every problem and its line. */
export function parseScenarioFile(text: string, file: string): Scenario {
  const yaml = parseYaml(text, file);
  const parsed = parseScenario(yaml.value);
  if ("scenario" in parsed) return parsed.scenario;
  refuseProblems(
    yaml,
    parsed.problems.map((problem) => located(problem, yaml)),
  );
  throw new MeshError("INTERNAL", "a refusal without a problem");
}

function located({ path, message, unknown }: ScenarioProblem, { document }: YamlFile): Problem {
  if (unknown === undefined) return { offset: offsetOf(path, document), message };
  const { key, known } = unknown;
  const meant = suggest(key, known);
  const hint = meant === undefined ? `known are ${known.join(", ")}` : `did you mean "${meant}"?`;
  return { offset: keyOffset(path, key, document), message: `${message}; ${hint}` };
}
