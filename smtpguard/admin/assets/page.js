// Reads the page again, and puts in what has changed.  Parts of the page that may change have the attribute
// data-live and an id; one is replaced only if the guard sent something else than before, and never while
// text in it is selected.  What is unfolded, scrolled or has the focus stays so.
"use strict";
(() => {
  const EVERY = 5000; // ms between an answer and the next question
  const PATIENCE = 4000; // ms that an answer may take
  const LIVE = "[data-live]";

  const freshness = document.getElementById("freshness");
  const pause = document.getElementById("pause");
  const sent = new Map(); // what the guard sent, by id
  let last = new Date(); // of the last good answer
  let timer = 0;
  let asking = false;
  let paused = false;

  const clock = (date) => date.toLocaleTimeString([], { hour12: false });
  const say = (text) => {
    if (freshness.textContent !== text) freshness.textContent = text;
  };

  // A part that can be scrolled has to be within reach of the keyboard.
  const reachable = (root) => {
    for (const box of root.querySelectorAll(".scroll")) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };

  const selected = (part) => {
    const selection = document.getSelection();
    return selection !== null && !selection.isCollapsed && selection.containsNode(part, true);
  };

  const replace = (old, part) => {
    for (const one of old.querySelectorAll("details[open][id]")) {
      const same = part.querySelector(`#${CSS.escape(one.id)}`);
      if (same) same.open = true;
    }
    const scrolled = [...old.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
    const boxes = [...old.querySelectorAll(".scroll")];
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const box = boxes.indexOf(focused);
    const link = focused ? [...old.querySelectorAll("a")].indexOf(focused) : -1;
    const fresh = document.adoptNode(part);
    old.replaceWith(fresh);
    const newBoxes = [...fresh.querySelectorAll(".scroll")];
    reachable(fresh);
    newBoxes.forEach((one, place) => { one.scrollLeft = scrolled[place] ?? 0; });
    if (!focused) return;
    const again = focused.id ? document.getElementById(focused.id)
      : box >= 0 ? newBoxes[box] : link >= 0 ? fresh.querySelectorAll("a")[link] : null;
    again?.focus({ preventScroll: true });
  };

  const take = (page) => {
    for (const part of [...page.querySelectorAll(LIVE)]) {
      const old = document.getElementById(part.id);
      const text = part.outerHTML;
      if (!old || sent.get(part.id) === text || selected(old)) continue;
      sent.set(part.id, text);
      replace(old, part);
    }
    document.title = page.title;
    const icon = document.getElementById("icon");
    const wanted = page.getElementById("icon").getAttribute("href");
    if (icon.getAttribute("href") !== wanted) icon.setAttribute("href", wanted);
  };

  const ask = async () => {
    const answer = await fetch(location.pathname, {
      cache: "no-store", redirect: "error", signal: AbortSignal.timeout(PATIENCE),
    });
    if (!answer.ok) throw new Error(`the guard answers ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!page.getElementById("masthead")) throw new Error("what answers is no guard");
    return page;
  };

  const stale = (fault) => {
    const why = fault.message.startsWith("the guard") || fault.message.startsWith("what answers")
      ? fault.message : "the guard does not answer";
    document.documentElement.classList.add("stale");
    document.title = `Stale: ${document.title.replace(/^Stale: /, "")}`;
    say(`Stale since ${clock(last)}: ${why}`);
  };

  const refresh = async () => {
    clearTimeout(timer);
    if (asking || paused || document.hidden) return;
    asking = true;
    try {
      const page = await ask();
      if (!paused) {
        take(page);
        last = new Date();
        document.documentElement.classList.remove("stale");
        say(`Refreshes every ${EVERY / 1000} s`);
      }
    } catch (fault) {
      stale(fault);
    } finally {
      asking = false;
      if (!paused) timer = setTimeout(refresh, EVERY);
    }
  };

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume" : "Pause";
    if (paused) {
      clearTimeout(timer);
      say(`Paused at ${clock(new Date())}`);
    } else {
      refresh();
    }
  });
  document.addEventListener("visibilitychange", refresh);
  addEventListener("resize", () => reachable(document));

  for (const part of document.querySelectorAll(LIVE)) sent.set(part.id, part.outerHTML);
  reachable(document);
  pause.hidden = false;
  say(`Refreshes every ${EVERY / 1000} s`);
  timer = setTimeout(refresh, EVERY);
})();
