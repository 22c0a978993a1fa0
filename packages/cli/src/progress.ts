// SPDX-License-Identifier: Apache-2.0
/** How far a long command is, on one line of a terminal's stderr that is written over. */

const INTERVAL_MS = 100;

/** Bytes for people: `812 B`, `3.4 MB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const place = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const size = bytes / 1_000 ** place;
  return `${place === 0 ? String(bytes) : size.toFixed(1)} ${units[place] ?? ""}`;
}

/** A line of progress; shows nothing where stderr is no terminal. */
export interface Progress {
  /** Shows a text, unless one was shown a moment ago. */
  show(text: string): void;
  /** Removes the line. */
  clear(): void;
}

/** A line of progress on the process's stderr. */
export function createProgress(): Progress {
  const { stderr } = process;
  let last = Number.NEGATIVE_INFINITY;
  const write = (text: string): void => {
    if (stderr.isTTY) stderr.write(`\r\u001b[K${text}`);
  };
  return {
    show(text) {
      const now = performance.now();
      if (now - last < INTERVAL_MS) return;
      last = now;
      write(text);
    },
    clear: () => {
      write("");
    },
  };
}
