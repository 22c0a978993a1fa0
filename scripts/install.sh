# shellcheck shell=sh
# Sourced by scripts/demo and scripts/test, from the top folder: installs what package-lock.json says, once, and
# puts the right Node first on PATH. Says what it does on standard error. Needs any Node from 20 with npm 11 or newer.

stamp=node_modules/.installed-lock
if [ ! -f "$stamp" ] || ! cmp -s package-lock.json "$stamp"; then
  command -v npm >/dev/null || {
    echo "npm is not on PATH; install Node.js 20 or newer, then run this again" >&2
    exit 4
  }
  started=$(date +%s)
  printf 'installing dependencies (about 400 MB unpacked; once)\n' >&2
  log=$(mktemp)
  npm ci --no-audit --no-fund --loglevel=error >"$log" 2>&1 &
  npm_pid=$!
  while kill -0 "$npm_pid" 2>/dev/null; do
    sleep 1
    elapsed=$(($(date +%s) - started))
    if [ -t 2 ]; then
      printf '\r  %3ss' "$elapsed" >&2
    elif [ $((elapsed % 10)) -eq 0 ]; then
      printf '  %ss\n' "$elapsed" >&2
    fi
  done
  if ! wait "$npm_pid"; then
    cat "$log" >&2
    rm -f "$log"
    echo "npm ci failed; its output is above" >&2
    exit 4
  fi
  rm -f "$log"
  cp package-lock.json "$stamp"
  [ -t 2 ] && printf '\r' >&2
  printf 'installed in %ss\n' "$(($(date +%s) - started))" >&2
fi
PATH="$PWD/node_modules/.bin:$PATH"
export PATH
