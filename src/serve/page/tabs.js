/** The row of tabs: by mouse, by arrow keys, and by the address (`#read`). */

import { closeAlternatives } from "./alternatives.js";
import { byId } from "./dom.js";
import { session } from "./state.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
const nameOf = (tab) => tab.getAttribute("aria-controls");

/** @param {string} name of a panel */
export function showTab(name) {
  closeAlternatives();
  for (const tab of tabs) {
    const chosen = nameOf(tab) === name;
    tab.ariaSelected = String(chosen);
    tab.tabIndex = chosen ? 0 : -1;
    byId(nameOf(tab)).hidden = !chosen;
  }
  session.save("tab", name);
  byId(name).dispatchEvent(new Event("shown"));
}

export function startTabs() {
  const names = tabs.map(nameOf);
  const fromAddress = () => names.find((name) => `#${name}` === location.hash.split("?")[0]);
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => {
      history.replaceState(null, "", `#${nameOf(tab)}`);
      showTab(nameOf(tab));
    });
    tab.addEventListener("keydown", (event) => {
      const last = tabs.length - 1;
      const target = {
        ArrowRight: index === last ? 0 : index + 1,
        ArrowLeft: index === 0 ? last : index - 1,
        Home: 0,
        End: last,
      }[event.key];
      if (target === undefined) return;
      event.preventDefault();
      tabs[target].focus();
      tabs[target].click();
    });
  }
  window.addEventListener("hashchange", () => fromAddress() && showTab(fromAddress()));
  const kept = session.load("tab", "write");
  showTab(fromAddress() ?? (names.includes(kept) ? kept : "write"));
}
