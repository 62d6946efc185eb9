/** The banner that says that the server does not answer, and takes itself away when it does. */

import { connection, isAlive } from "./api.js";
import { byId } from "./dom.js";

/** Milliseconds between two looks at the server: while it is away, and otherwise. */
const AWAY = 1000;
const USUAL = 10000;

/** @param {() => void} onBack called when the server is back */
export function watchConnection(onBack) {
  const banner = byId("connection");
  let timer = 0;

  const lost = () => {
    if (!banner.hidden) return;
    banner.textContent = `The server at ${location.host} does not answer. Your text stays here; the page waits for the server.`;
    banner.hidden = false;
    look(AWAY);
  };
  const answered = () => {
    if (banner.hidden) return;
    banner.hidden = true;
    look(USUAL);
    onBack();
  };
  const look = (milliseconds) => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      if (!document.hidden) (await isAlive()) ? answered() : lost();
      look(banner.hidden ? USUAL : AWAY);
    }, milliseconds);
  };

  connection.addEventListener("lost", lost);
  connection.addEventListener("answered", answered);
  document.addEventListener("visibilitychange", () => document.hidden || look(0));
  look(USUAL);
}
