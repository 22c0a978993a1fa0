// SPDX-License-Identifier: Apache-2.0
/** Who may do what in a space: a signed graph of acts, judged the same everywhere. */
export { addActs } from "./add-acts.ts";
export type { AddedActs, RefusedAct } from "./add-acts.ts";
export { issueGrant, issueInvite, publishSchema, revokeDevice, setPolicy } from "./author.ts";
export { createSpace, openSpace } from "./genesis.ts";
export { acceptInvite, encodeInvite, parseInvite } from "./invite.ts";
export type { Contact, Invitation } from "./invite.ts";
export { parsePolicy, resolverFor } from "./policy-record.ts";
export { allows, isMember, isWelcome, roleAt } from "./roles.ts";
export { DEFAULT_GRANT_MS } from "./space.ts";
export type { Grant, Invite, KnownAct, PublishedSchema, Revocation, Space } from "./space.ts";
export { encodeSpaceFile, parseSpaceFile } from "./space-file.ts";
