// SPDX-License-Identifier: Apache-2.0
/** The configuration of the daemons, after defaults are filled in and paths made absolute. */
import type { CsvSourceOptions, HostSourceOptions } from "@ctxmesh/edge-agent";
import type { LinkBudgets } from "@ctxmesh/service";
import type { AskedWitness, WitnessFiles } from "../witness-settings.ts";

/** A source of an agent. */
export type SourceConfig =
  | ({ readonly type: "host" } & HostSourceOptions)
  | ({ readonly type: "csv" } & CsvSourceOptions);

/** Least severe level that is logged. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** What protects the key of a store; one member at most, and the default is a file beside the device key. */
export interface EncryptionConfig {
  /** Nothing in the store is encrypted. */
  readonly off?: true;
  /** Path of a key file; made when the store is. */
  readonly keyFile?: string;
  /** Name of a systemd credential. */
  readonly credential?: string;
  /** Name of an environment variable. */
  readonly environment?: string;
  /** A key in a hardware token. */
  readonly pkcs11?: {
    /** Path of the vendor's library. */
    readonly module: string;
    /** Label of the token. */
    readonly token: string;
    /** Label of the AES key. */
    readonly key: string;
    /** Path of a file that holds the user PIN. */
    readonly pinFile: string;
  };
}

/** What both daemons have. */
export interface NodeConfig {
  /** Path of the space file. */
  readonly space: string;
  /** Path of the device key, an Ed25519 JWK. */
  readonly key: string;
  /** Path of the store's folder. */
  readonly store: string;
  readonly encryption?: EncryptionConfig;
  /** Path of the local API's Unix socket. */
  readonly socket: string;
  /** Where the local API listens on TCP. */
  readonly api?: {
    /** A loopback address and a port, such as `127.0.0.1:7410`. */
    readonly listen: string;
    /** Path of the token's file. */
    readonly tokenFile: string;
    /** Origins of pages that may ask. */
    readonly origins: readonly string[];
  };
  /** Rates such as `256kbit` by device, address, or `default`. */
  readonly links: LinkBudgets;
  /** What keeps the facts of large documents. */
  readonly factEngine: "wasm" | "js";
  readonly log: { readonly level: LogLevel };
}

/** How hubs are connected to over `wss:`; paths of PEM files. */
export interface HubTlsConfig {
  readonly ca?: string;
  readonly cert?: string;
  readonly requirePq: boolean;
}

/** TLS at a hub's port; paths of PEM files. */
export interface DoorTlsConfig {
  readonly key: string;
  readonly cert: string;
  readonly clientCa?: string;
  readonly requireClientCertificate: boolean;
  readonly requirePq: boolean;
}

/** Whose tokens a hub accepts. */
export interface AuthConfig {
  readonly issuer: string;
  readonly audience: string;
  readonly type: "at+jwt" | "JWT";
  /** Path of a JWK set; it or `keyUrl`. */
  readonly keyFile?: string;
  readonly keyUrl?: string;
  /** Path of a PEM file. */
  readonly keyCa?: string;
  /** Path of a list of revoked tokens. */
  readonly revocations?: string;
}

/** Configuration of `ctxmesh agent`. */
export interface AgentConfig extends NodeConfig {
  readonly mesh: {
    /** Multiaddresses to listen on. */
    readonly listen: readonly string[];
    /** Multiaddresses that others are told to dial in place of those. */
    readonly announce?: readonly string[];
    /** Multiaddresses of agents to keep a connection to. */
    readonly peers: readonly string[];
    /** Multiaddresses of hubs' relays, through which others reach this agent. */
    readonly relays: readonly string[];
    /** Whether connections may be without a post-quantum key exchange. */
    readonly security: "prefer-pq" | "require-pq";
    /** Path of a network key, in the form of a `swarm.key` file. */
    readonly networkKey?: string;
    /** Whether agents on the local network find each other by multicast DNS. */
    readonly mdns: boolean;
  };
  /** WebSocket URLs of hubs to keep a connection to. */
  readonly hubs: readonly string[];
  readonly hubTls?: HubTlsConfig;
  /** Where leaves connect. */
  readonly leaves?: {
    /** A host and a port, such as `0.0.0.0:7420`. */
    readonly listen: string;
    /** Path of the secret's file. */
    readonly secretFile: string;
  };
  /** Where replicas in pages connect. */
  readonly pages?: {
    /** A host and a port, such as `127.0.0.1:7430`. */
    readonly listen: string;
  };
  /** `all`, or `sealed+` and a number of days (`d`) or hours (`h`): see {@link retainedMs}. */
  readonly retain: string;
  /** What of others' writes is kept, as `parseSubscriptionRules` reads it; everything without a rule. */
  readonly subscribe: readonly string[];
  readonly sources: readonly SourceConfig[];
}

/** Configuration of `ctxmesh hub`. */
export interface HubConfig extends NodeConfig {
  readonly listen: { readonly host: string; readonly port: number };
  /** WebSocket URLs of other hubs to keep a connection to. */
  readonly hubs: readonly string[];
  readonly hubTls?: HubTlsConfig;
  readonly tls?: DoorTlsConfig;
  readonly auth?: AuthConfig;
  /** The endpoint for Yjs clients. */
  readonly yjs?: {
    /** Origins of pages that may connect. */
    readonly origins: readonly string[];
  };
  /** What makes the hub a relay between agents. */
  readonly relay?: {
    /** Multiaddresses to listen on. */
    readonly listen: readonly string[];
    /** Multiaddresses that agents are told in place of those. */
    readonly announce?: readonly string[];
    /** As that of the agents. */
    readonly security: "prefer-pq" | "require-pq";
    /** Path of the network key that the agents have. */
    readonly networkKey?: string;
  };
  /** A database that several hubs share. */
  readonly engine?: {
    readonly url: string;
    readonly passwordFile?: string;
    /** Where the hubs tell each other of news. */
    readonly hints?: string;
  };
  readonly seal: {
    /** Path of the key that signs snapshots, an ML-DSA-65-Ed25519 JWK. */
    readonly key: string;
    readonly log: {
      /** Name of the log: a URL without its scheme. */
      readonly origin: string;
      /** Path of the log's Ed25519 JWK. */
      readonly ed25519Key: string;
      /** Path of the log's ML-DSA-44 JWK. */
      readonly mldsa44Key: string;
    };
    /** Who is asked to cosign the log. */
    readonly witnesses: readonly AskedWitness[];
  };
  /** Makes the hub a witness of other logs. */
  readonly witness?: WitnessFiles;
}

/** The configuration of each daemon. */
export interface ConfigByKind {
  readonly agent: AgentConfig;
  readonly hub: HubConfig;
}

/** What a start is told, once, on its command line. */
export interface Acceptance {
  /** Gives up what a damaged store had and no peer has. */
  readonly acceptLoss: boolean;
  /** Encrypts from now on a store that was made without encryption. */
  readonly acceptPlain: boolean;
  /** A rate for every link, in place of those that the configuration names. */
  readonly linkBudget?: string;
  /** Agent only: rules in place of those that the configuration names. */
  readonly subscribe?: readonly string[];
  /** Multiaddresses: of relays, beside those that an agent's configuration names; or of a hub's relay to listen on. */
  readonly relays?: readonly string[];
  /** Hub only: accept tokens of an issuer that this process makes up, in place of those of the configuration. */
  readonly dev?: boolean;
  /** Hub only: URLs of hubs, beside those that the configuration names. */
  readonly hubs?: readonly string[];
  /** Hub only: the address of an engine, in place of that which the configuration names. */
  readonly engine?: string;
  /** Hub only: the address of a bus of hints, in place of that which the configuration names. */
  readonly hints?: string;
}

/** Which daemon. */
export type ConfigKind = keyof ConfigByKind;
