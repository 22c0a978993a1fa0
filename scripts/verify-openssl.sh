#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Verifies the seal of a bundle with stock OpenSSL >= 3.5 and nothing of ours: scripts/verify-openssl.sh BUNDLE ROOT
# Both halves of the composite signature by the key that the trust root has under the seal's key id; byte layouts: docs/FORMATS.md.
set -eu
t=$(mktemp -d); trap 'rm -rf "$t"' EXIT; ssl=${OPENSSL:-openssl}; label=COMPSIG-MLDSA65-Ed25519-SHA512
$ssl version | grep -Eq 'OpenSSL (3\.([5-9]|[1-9][0-9])|[4-9])' || { echo "needs OpenSSL >= 3.5: $($ssl version)" >&2; exit 3; }
field() { tr -d '\\' < "$1" | grep -o "\"$2\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; } # the envelope comes first
field "$1" payload | $ssl base64 -d -A > "$t/payload"; field "$1" sig | $ssl base64 -d -A > "$t/sig"; id=$(field "$1" keyid)
pub=$(tr -d ' \n' < "$2" | grep -o "\"pub\":\"[^\"]*\"},\"keyid\":\"$id\"" | cut -d '"' -f 4)
printf '%s==' "$pub" | tr '_-' '/+' | $ssl base64 -d -A > "$t/pub"
[ "$(wc -c < "$t/pub") $(wc -c < "$t/sig")" = "1984 3373" ] || { echo "no ML-DSA-65-Ed25519 key $id" >&2; exit 2; }
{ printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(wc -c < "$t/payload")"; cat "$t/payload"; } > "$t/pae"
{ printf 'CompositeAlgorithmSignatures2025%s\000' $label; $ssl dgst -sha512 -binary "$t/pae"; } > "$t/m"
{ printf '\060\202\007\262\060\013\006\011\140\206\110\001\145\003\004\003\022\003\202\007\241\000'; head -c 1952 "$t/pub"; } > "$t/mldsa.der"
{ printf '\060\052\060\005\006\003\053\145\160\003\041\000'; tail -c 32 "$t/pub"; } > "$t/ed.der"
head -c 3309 "$t/sig" > "$t/mldsa.sig"; tail -c 64 "$t/sig" > "$t/ed.sig"
verify() { $ssl pkeyutl -verify -rawin -pubin -keyform DER -inkey "$t/$1.der" -sigfile "$t/$1.sig" -in "$t/m" ${2:+-pkeyopt "$2"} > /dev/null; }
verify mldsa "context-string:$label" && verify ed || { echo "INVALID seal by $id" >&2; exit 1; }
echo "VALID seal by $id:"; cat "$t/payload"; echo
