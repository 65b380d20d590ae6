// Follows the hub's socket (docs/hub.md). Regions with data-follow are fetched again when something in those rooms changed, and only
// what is different in them is exchanged; lamps change in place. Without a connection the page says that it may be out of date.
"use strict";
(() => {
  const regions = [...document.querySelectorAll("[data-follow]")];
  const lamps = document.querySelector("[data-lamps]");
  const standing = document.querySelector("[data-standing]");
  const rooms = [...new Set([...regions.flatMap((region) => region.dataset.follow.split(" ")), ...(lamps ? ["extensions"] : [])])];
  const FETCH_MS = 400;
  const LONGEST_MS = 30000;
  const CLOSED_FOR_GOOD = 4401;
  let socket = null;
  let seen = { epoch: "", seq: 0 };
  let silent = 0;
  let beat = 5;
  let wait = 500;

  // -- what the page says about itself
  const say = (state) => {
    if (!standing) return;
    if (state === "stale" && "unlinked" in standing.dataset) state = "live"; // what is shown doesn't come from the engine
    const text = standing.dataset[state] || "";
    if (standing.dataset.state === state) return;
    standing.dataset.state = state;
    const dot = document.createElement("span");
    dot.className = state === "live" ? "dot good" : "dot bad";
    standing.replaceChildren(dot, text);
  };

  // -- regions that come from the server
  const exchange = (known, fresh) => {
    if (known.outerHTML === fresh.outerHTML) return;
    const busy = known.contains(document.activeElement) && known !== document.activeElement;
    if (busy && known.children.length === fresh.children.length) [...known.children].forEach((each, index) => exchange(each, fresh.children[index]));
    else if (known !== document.activeElement) known.replaceWith(fresh.cloneNode(true));
  };
  const merge = (old, fresh) => {
    const keyed = (node) => new Map([...node.children].filter((each) => each.dataset.key).map((each) => [each.dataset.key, each]));
    const before = keyed(old);
    const wanted = [...fresh.children];
    for (const [index, each] of wanted.entries()) {
      const known = before.get(each.dataset.key);
      const at = old.children[index];
      if (!known) {
        old.insertBefore(each.cloneNode(true), at || null);
        continue;
      }
      before.delete(each.dataset.key);
      if (known !== at) old.insertBefore(known, at || null);
      if (known.outerHTML === each.outerHTML) continue;
      const inner = known.tagName === each.tagName && known.querySelector("tbody") && each.querySelector("tbody");
      // A table keeps its rows, so that the button under somebody's hand stays; so does what has the focus.
      if (inner) merge(known.querySelector("tbody"), each.querySelector("tbody"));
      else exchange(known, each);
    }
    while (old.children.length > wanted.length) old.lastElementChild.remove();
    tick();
  };
  const due = new Map();
  const refresh = (region) => {
    if (due.has(region)) return;
    due.set(region, setTimeout(async () => {
      try {
        const answer = await fetch(region.dataset.url, { headers: { Accept: "text/html" } });
        if (answer.redirected) location.reload();
        else if (answer.ok) {
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          const fresh = page.getElementById(region.id);
          if (fresh) merge(region, fresh);
        }
      } catch {
        say("lost");
      }
      due.delete(region);
    }, FETCH_MS));
  };

  // -- lamps
  const lamp = (data) => {
    const place = lamps?.querySelector(`[data-id="${CSS.escape(data.id)}"]`);
    if (!place || data.state === undefined || place.dataset.state === data.state) return;
    place.dataset.state = data.state;
    place.querySelector(".word").textContent = lamps.dataset[data.state] || data.state;
  };

  // -- figures that change all the time: in place, written as the server writes them (writing.py)
  const digits = (value) => new Intl.NumberFormat(document.documentElement.lang, { maximumSignificantDigits: 3, useGrouping: false }).format(value);
  const scaled = (value, units) => {
    let power = 0;
    for (value /= 1000; value >= 999.5 && power < units.length - 1; power += 1) value /= 1000;
    return `${digits(value)} ${units[power]}`;
  };
  const written = {
    ms: (value) => `${digits(value)} ms`,
    share: (value) => `${Math.round(100 * value)} %`,
    rate: (value) => scaled(value, ["kbit/s", "Mbit/s", "Gbit/s"]),
    size: (value) => scaled(value, ["kB", "MB", "GB", "TB"]),
  };
  const figures = (data) => {
    const row = document.querySelector(`[data-branch="${CSS.escape(data.id)}"]`);
    if (!row) return !("state" in data); // a page that only counts them
    const names = Object.keys(data).filter((name) => name !== "id");
    const cells = names.map((name) => row.querySelector(`[data-figure="${name}"]`));
    if (cells.some((cell) => !cell)) return false;
    cells.forEach((cell, index) => {
      const value = data[names[index]];
      cell.textContent = value === null ? cell.dataset.none || "–" : written[cell.dataset.unit](value);
      if (cell.dataset.poor) cell.classList.toggle("poor", value !== null && value >= Number(cell.dataset.poor));
    });
    return true;
  };

  // -- the socket
  const take = (message) => {
    seen.seq = Math.max(seen.seq, message.seq);
    switch (message.type) {
      case "hello":
        seen = { epoch: message.data.epoch, seq: message.seq };
        beat = message.data.heartbeat_s;
        say(message.data.state);
        if (!message.data.resumed) regions.forEach(refresh);
        break;
      case "state":
      case "heartbeat":
        say(message.data.state);
        break;
      case "snapshot":
        for (const data of message.data.extension || []) lamp(data);
        break;
      default:
        if (message.type === "branch" && figures(message.data)) break;
        if (message.room === "extensions" && message.type === "extension") lamp(message.data);
        for (const region of regions) if (region.dataset.follow.split(" ").includes(message.room)) refresh(region);
    }
  };
  const connect = () => {
    socket = new WebSocket(`wss://${location.host}/live`);
    const mine = socket;
    socket.addEventListener("open", () => {
      silent = 0;
      mine.send(JSON.stringify({ type: "subscribe", rooms, ...(seen.epoch ? seen : {}) }));
    });
    socket.addEventListener("message", (event) => {
      silent = 0;
      wait = 500;
      for (const message of JSON.parse(event.data)) take(message);
    });
    socket.addEventListener("close", (event) => {
      if (mine !== socket) return;
      say("lost");
      if (event.code === CLOSED_FOR_GOOD) return void location.reload();
      setTimeout(connect, wait * (0.5 + Math.random()));
      wait = Math.min(wait * 2, LONGEST_MS);
    });
  };

  // -- clocks, and whether anything is heard
  const tick = () => {
    for (const each of document.querySelectorAll("time[data-since]")) {
      const seconds = Math.max(0, Math.floor((Date.now() - Number(each.dataset.since)) / 1000));
      const text = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
      if (each.textContent !== text) each.textContent = text;
    }
  };
  if (rooms.length) {
    connect();
    setInterval(() => {
      tick();
      silent += 1;
      if (silent > 3 * beat && socket.readyState === WebSocket.OPEN) {
        say("lost");
        silent = 0;
        socket.close();
      }
    }, 1000);
  }

  // -- links to telephone numbers
  const protocol = document.querySelector("[data-protocol]");
  if (protocol && navigator.registerProtocolHandler) {
    protocol.hidden = false;
    const button = protocol.querySelector("button");
    button.addEventListener("click", () => navigator.registerProtocolHandler("tel", new URL(button.dataset.url, location.href).href));
  }
})();
