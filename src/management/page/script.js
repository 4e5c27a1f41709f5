
"use strict";
(() => {
  const EVERY = 5000, PATIENCE = 10000;
  const fresh = document.getElementById("fresh");
  const alarm = document.getElementById("alarm");
  let good = Date.now(), timer = 0, busy = false;

  const clock = (at) => new Date(at).toLocaleTimeString([], { hourCycle: "h23" });

  function show(failed) {
    const old = failed || Date.now() - good > EVERY + PATIENCE;
    document.body.classList.toggle("old", old);
    if (alarm.hidden === old) {
      alarm.hidden = !old;
      alarm.textContent = old ? `No answer since ${clock(good)}: what stands here is old. Trying again.` : "";
    }
    fresh.textContent = `as of ${clock(good)}, live`;
  }

  // Whoever reads on keeps their place: what is open stays open, what has the focus keeps it.
  function put(next) {
    const main = document.getElementById("main");
    const focus = main.contains(document.activeElement) ? document.activeElement.id : "";
    const { scrollX, scrollY } = window;
    for (const open of main.querySelectorAll("details[open]")) {
      const same = next.querySelector(`#${CSS.escape(open.id)}`);
      if (same) same.open = true;
    }
    main.replaceWith(next);
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
    window.scrollTo(scrollX, scrollY);
  }

  async function refresh() {
    if (document.hidden || busy) return;
    busy = true;
    let failed = true;
    try {
      const answer = await fetch(location.pathname, { cache: "no-store", redirect: "error", signal: AbortSignal.timeout(PATIENCE) });
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const next = page.getElementById("main");
        if (next) {
          // A selection would be lost, and with it what somebody is about to copy.
          if (getSelection().isCollapsed) put(document.adoptNode(next));
          good = Date.now();
          failed = false;
        }
      }
    } catch {
      // Said below.
    }
    busy = false;
    show(failed);
    again();
  }

  function again() {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(refresh, EVERY);
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
  show(false);
  again();
})();
