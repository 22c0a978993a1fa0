// SPDX-License-Identifier: Apache-2.0
/** Shows the facts of a document, and says new ones, over a replica in this page. */
// oxlint-disable-next-line import/extensions -- a browser asks for the file by its name
import { openReplica } from "../../../packages/browser/bundle/ctxmesh.js";

const at = (id) => document.getElementById(id);
/** How often the page looks how the replica stands, in milliseconds. */
const LOOK_MS = 1_000;

/** Where the page connects, and what it shows; nothing of it is secret. */
const settings = JSON.parse(localStorage.getItem("offline-page") ?? "{}");

/** A value as somebody types it. */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const show = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function complain(error) {
  at("problem").hidden = error === undefined;
  at("problem").textContent =
    error === undefined ? "" : [error.message, error.remedy].filter(Boolean).join(". ");
}

function rowOf(mesh, { key, value, writer }) {
  const row = document.createElement("tr");
  const name = Object.assign(document.createElement("th"), { scope: "row", textContent: key });
  const shown = Object.assign(document.createElement("td"), {
    className: "value",
    textContent: show(value),
  });
  const who = Object.assign(document.createElement("td"), {
    className: "writer",
    textContent: writer === mesh.device ? "this page" : writer.slice(0, 8),
  });
  const edit = Object.assign(document.createElement("button"), {
    type: "button",
    textContent: "Edit",
  });
  edit.setAttribute("aria-label", `Edit ${key}`);
  edit.addEventListener("click", () => {
    at("key").value = key;
    at("value").value = show(value);
    at("value").focus();
    at("value").select();
  });
  const change = document.createElement("td");
  change.append(edit);
  row.append(name, shown, who, change);
  return row;
}

async function draw(mesh, doc) {
  const facts = await mesh.list({ doc });
  // What has the focus keeps it.
  const focused = document.activeElement?.getAttribute("aria-label");
  at("rows").replaceChildren(...facts.map((fact) => rowOf(mesh, fact)));
  at("none").hidden = facts.length > 0;
  if (focused?.startsWith("Edit ")) {
    at("rows")
      .querySelector(`[aria-label="${CSS.escape(focused)}"]`)
      ?.focus();
  }
}

/** Draws the facts, and again whenever one of them has changed. */
async function follow(mesh, doc) {
  let isDue = false;
  const watch = mesh.watch({ doc });
  await watch.ready;
  await draw(mesh, doc);
  for await (const _ of watch) {
    if (isDue) continue;
    isDue = true;
    // Several changes that come at once are drawn once.
    setTimeout(() => {
      isDue = false;
      draw(mesh, doc).catch(complain);
    });
  }
}

function tell(element, text) {
  // What is read out is what has changed.
  if (element.textContent !== text) element.textContent = text;
}

async function look(mesh) {
  const { peers, acknowledged } = await mesh.status();
  const isConnected = peers.length > 0;
  at("link").dataset.state = isConnected ? "connected" : "offline";
  const waiting = acknowledged?.hub.waiting?.batches ?? 0;
  const rest = waiting === 0 ? "" : `, ${waiting} to send`;
  tell(at("link"), isConnected ? `Connected${rest}` : `Offline${rest}`);
}

async function run(mesh) {
  const doc = settings.document;
  at("document").textContent = doc;
  document.title = `${doc}: facts`;
  at("join").hidden = true;
  at("facts").hidden = false;
  at("write").addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = at("key").value.trim();
    try {
      await mesh.put(doc, { key, value: parse(at("value").value) });
      complain();
      at("write").reset();
      tell(at("saved"), `${key} is saved in this browser.`);
      at("key").focus();
    } catch (error) {
      complain(error);
    }
  });
  setInterval(() => look(mesh).catch(complain), LOOK_MS);
  await Promise.all([look(mesh), follow(mesh, doc)]);
}

/** Opens the replica, with an invite the first time. */
const open = (invite) =>
  openReplica({
    name: "offline-page",
    urls: settings.hub === undefined ? [] : [settings.hub],
    ...(invite === undefined ? {} : { invite }),
  });

function askToJoin() {
  at("join").hidden = false;
  at("link").dataset.state = "offline";
  tell(at("link"), "Not joined yet");
  at("join").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = at("join").querySelector("button");
    button.disabled = true;
    settings.hub = at("hub").value.trim();
    settings.document = at("name").value.trim();
    tell(at("link"), "Joining");
    try {
      const mesh = await open(at("invite").value.trim());
      localStorage.setItem("offline-page", JSON.stringify(settings));
      complain();
      run(mesh).catch(complain);
    } catch (error) {
      complain(error);
      tell(at("link"), "Not joined yet");
      button.disabled = false;
    }
  });
}

// So that the page itself can be loaded without its server.
navigator.serviceWorker?.register("worker.js", { scope: "./" }).catch(complain);

if (settings.hub === undefined) askToJoin();
else open().then(run).catch(complain);
