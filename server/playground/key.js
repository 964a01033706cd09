// The API key: asked for when the server wants one, kept for this tab.

import { byId } from "./dom.js";

/** `changed` is called when a key was given or forgotten. */
export function buildKeyDialog(api, changed) {
  byId("key-open").addEventListener("click", () => askForKey(api));
  byId("key-form").addEventListener("submit", () => take(api, byId("key").value.trim(), changed));
  byId("key-forget").addEventListener("click", () => {
    byId("key-dialog").close();
    take(api, "", changed);
  });
}

/** Open the dialog; `reason` says why, if the server answered 401. */
export function askForKey(api, reason = "") {
  byId("key-reason").textContent = reason;
  byId("key").value = api.key;
  byId("key").select();
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
}

/** Why a key is asked for after a 401. */
export function keyReason(api) {
  return api.key === ""
    ? "This server asks for an API key (it answered 401)."
    : "The server does not know this key (it answered 401).";
}

function take(api, key, changed) {
  api.key = key;
  changed();
}
