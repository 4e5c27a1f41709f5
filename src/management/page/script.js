
"use strict";
(() => {
  const EVERY = 5000, PATIENCE = 10000;
  const fresh = document.getElementById("fresh");
  const alarm = document.getElementById("alarm");
  let shown = Date.now(), timer = 0, busy = false;

  const clock = (at) => new Date(at).toLocaleTimeString([], { hourCycle: "h23" });

  function showState(state) {
    const old = state === "failed";
    document.body.classList.toggle("old", old);
    if (alarm.hidden === old) {
      alarm.hidden = !old;
      alarm.textContent = old ? `No response since ${clock(shown)}. This page is out of date. Trying again.` : "";
    }
    const more = { failed: "", held: ", held while text is selected", live: ", live" }[state];
    fresh.textContent = `as of ${clock(shown)}${more}`;
  }

  // Keeps the reader's place: open details stay open, the focus stays on the same element, and the
  // scroll position does not change.
  function replaceMain(next) {
    const main = document.getElementById("main");
    const focus = main.contains(document.activeElement) ? document.activeElement.id : "";
    const inSight = [...main.querySelectorAll("[id]")].find((e) => e.getBoundingClientRect().bottom > 80);
    const at = inSight?.getBoundingClientRect().top;
    for (const open of main.querySelectorAll("details[open]")) {
      const same = next.querySelector(`#${CSS.escape(open.id)}`);
      if (same) same.open = true;
    }
    main.replaceWith(next);
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
    const same = inSight && document.getElementById(inSight.id);
    if (same && window.scrollY > 0) window.scrollBy({ top: same.getBoundingClientRect().top - at, behavior: "instant" });
  }

  // An absolute URL without credentials. A relative one would inherit them if the page was opened
  // with a password in its address, and fetch refuses such a URL.
  async function refresh() {
    if (document.hidden || busy) return;
    busy = true;
    let state = "failed";
    try {
      const answer = await fetch(location.origin + location.pathname, { cache: "no-store", redirect: "error", signal: AbortSignal.timeout(PATIENCE) });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = answer.ok && page.getElementById("main");
      if (next) {
        // Replacing the page would clear the selection, which the reader may be about to copy.
        state = getSelection().isCollapsed ? "live" : "held";
        if (state === "live") {
          replaceMain(document.adoptNode(next));
          shown = Date.now();
        }
      }
    } catch {
      // The failure is shown below.
    }
    busy = false;
    showState(state);
    schedule();
  }

  function schedule() {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(refresh, EVERY);
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
  showState("live");
  schedule();
})();
