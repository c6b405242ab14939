// Keeps an open page fresh. Everything works without it: it fetches the page that is open when the daemon says that
// there is a newer view, and changes what is different. The fetched page is made by the server like any other.
(() => {
  "use strict";
  const main = document.getElementById("main");
  const connection = document.getElementById("connection");
  const first = 1000; // milliseconds from a failure to the next try; each failure doubles them
  const longest = 30000;
  const steady = 5000; // how long a connection has to hold before its failures are forgotten
  const ages = 60000; // how often ages are put right while nothing happens, and news are looked for without a stream
  const typing = 200; // the pause in typing at which a search begins

  document.documentElement.classList.add("script");

  // say tells the state of the connection, once.
  function say(state, text) {
    if (connection.dataset.state === state) return;
    connection.dataset.state = state;
    connection.textContent = text;
  }

  // What is open stays as a reader left it: focus, what is typed, what is folded, where it is scrolled to. So a page is not
  // exchanged as a whole: its elements are kept, and only what differs is changed. Elements of lists have keys.
  const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || "" : "");
  const leftToReader = (element, name) => name === "open" && element.nodeName === "DETAILS";

  function patch(have, want) {
    if (have.nodeType !== Node.ELEMENT_NODE) {
      if (have.data !== want.data) have.data = want.data;
      return;
    }
    if (have.isEqualNode(want)) return;
    for (const { name } of [...have.attributes]) if (!want.hasAttribute(name) && !leftToReader(have, name)) have.removeAttribute(name);
    for (const { name, value } of want.attributes) if (have.getAttribute(name) !== value && !leftToReader(have, name)) have.setAttribute(name, value);
    patchChildren(have, want);
  }

  function patchChildren(have, want) {
    const known = new Map();
    for (const child of have.children) if (keyOf(child) && !known.has(keyOf(child))) known.set(keyOf(child), child);
    const wanted = new Set([...want.children].map(keyOf));
    let at = have.firstChild;
    for (const next of [...want.childNodes]) {
      while (at && keyOf(at) && !wanted.has(keyOf(at))) at = removed(at);
      const key = keyOf(next);
      let found = null;
      if (key) {
        found = known.get(key) || null;
        known.delete(key);
      } else if (at && !keyOf(at)) found = at;
      if (!found || found.nodeName !== next.nodeName) {
        have.insertBefore(document.importNode(next, true), at);
        continue;
      }
      if (found === at) at = at.nextSibling;
      else have.insertBefore(found, at);
      patch(found, next);
    }
    while (at) at = removed(at);
  }

  function removed(node) {
    const next = node.nextSibling;
    node.remove();
    return next;
  }

  function show(fresh) {
    const active = document.activeElement;
    const inside = main.contains(active) && active !== main;
    const [from, to] = inside && "selectionStart" in active ? [active.selectionStart, active.selectionEnd] : [null, null];
    patch(main, fresh.getElementById("main"));
    document.title = fresh.title;
    if (!inside || document.activeElement === active) return;
    // An element that was moved has lost its focus; for one that is gone, the reader goes on from the beginning.
    if (!active.isConnected) return main.focus({ preventScroll: true });
    active.focus({ preventScroll: true });
    if (from !== null) active.setSelectionRange(from, to);
  }

  // refresh fetches the page that is open. One at a time: what comes up meanwhile is one more when it is done.
  let fetching = false;
  let again = false;
  async function refresh() {
    if (fetching) {
      again = true;
      return;
    }
    fetching = true;
    again = false;
    const address = location.href;
    try {
      const answer = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store", signal: AbortSignal.timeout(longest) });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!fresh.getElementById("main")?.dataset.version) {
        // It leads elsewhere now, to where one signs in again. An answer in its place that is no page of ours may pass.
        if (answer.redirected) return location.reload();
        throw new Error(String(answer.status));
      }
      if (address === location.href) show(fresh);
      else again = true;
    } catch {
      lost();
    } finally {
      fetching = false;
    }
    if (again) await refresh();
  }

  let source = null;
  let wait = first;
  let failures = 0;
  let timer = 0;
  let settled = 0;

  function connect() {
    clearTimeout(timer);
    if (source || document.hidden) return;
    source = new EventSource("/stream?seen=" + encodeURIComponent(main.dataset.version));
    source.addEventListener("open", () => {
      say("live", "Live");
      settled = setTimeout(() => {
        failures = 0;
        wait = first;
      }, steady);
    });
    source.addEventListener("changed", refresh);
    source.addEventListener("error", lost);
  }

  // lost tries again later, and later still. A stream ends now and then: that alone is not worth a word.
  function lost() {
    disconnect();
    failures++;
    if (failures > 1) {
      const now = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      say("lost", "Not live since " + now + ", trying again");
    }
    timer = setTimeout(connect, failures > 1 ? wait * (0.5 + Math.random()) : 300);
    wait = Math.min(wait * 2, longest);
  }

  function disconnect() {
    clearTimeout(timer);
    clearTimeout(settled);
    source?.close();
    source = null;
  }

  // A page that nobody looks at holds no connection: a browser has only six for one server.
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", connect);
  setInterval(() => document.hidden || refresh(), ages);

  // A search begins while it is typed. The address says the same as if the form had been sent.
  let typed = 0;
  function search(form) {
    const asked = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value) asked.append(name, value);
    history.replaceState(null, "", asked.size ? form.action + "?" + asked : form.action);
    refresh();
  }
  for (const kind of ["input", "change"])
    document.addEventListener(kind, (event) => {
      const form = event.target.closest?.("form[data-live]");
      if (!form) return;
      clearTimeout(typed);
      typed = setTimeout(search, kind === "input" ? typing : 0, form);
    });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button[data-copy]");
    if (!button) return;
    const text = button.parentElement.querySelector("pre").textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Not every page may write to the clipboard: the text is selected to be copied by hand.
      getSelection().selectAllChildren(button.parentElement.querySelector("pre"));
      button.textContent = "Selected";
    }
  });

  connect();
})();
