// SPDX-License-Identifier: Apache-2.0
import { stringify } from "yaml";
import type { AgentConfig, HubConfig } from "./types.ts";

const CREDENTIALS = /^([a-z]+:\/\/)[^/@]+@/u;

function redacted(value: unknown): unknown {
  if (typeof value === "string") return value.replace(CREDENTIALS, "$1***@");
  if (Array.isArray(value)) return value.map(redacted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, redacted(item)]));
}

/** The effective configuration as YAML; user names and passwords in URLs become `***`. */
export const renderConfig = (config: AgentConfig | HubConfig): string =>
  stringify(redacted(config));

/** The same as JSON. */
export const renderConfigJson = (config: AgentConfig | HubConfig): string =>
  JSON.stringify(redacted(config));
