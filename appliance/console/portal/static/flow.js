// The call flow by mouse and by keyboard. Each edit is a form's post whose answer is the page as it is then: "#flow" of it is put in.
"use strict";
(() => {
  const FAR = 5; // pixels from which on a press is a drag
  const SCALES = [0.25, 2];
  const READABLE = 0.7; // the smallest scale to begin with
  let scale = 0; // none yet
  let busy = false;
  let drag = null;
  let place = ""; // the destination field that the dialog is about
  let doomed = null; // the box that the other dialog is about
  let opener = null; // what had the focus before a dialog was shown

  const root = () => document.getElementById("flow");
  const picture = () => document.getElementById("picture");
  const canvas = () => document.getElementById("canvas");
  const dialog = (id) => document.getElementById(id);
  const nodes = () => [...(picture()?.querySelectorAll(".node") ?? [])];
  const nodeOf = (name) => nodes().find((node) => node.dataset.node === name);
  const portOf = (name) => [...(picture()?.querySelectorAll(".port") ?? [])].find((port) => port.dataset.port === name);
  const ports = (node) => [...node.querySelectorAll(".port.movable")];
  const text = (name, values = {}) => (root().dataset[name] || "").replace(/\{(\w+)\}/g, (_all, key) => values[key] ?? "");
  const told = () => document.getElementById("said");
  const say = (words, failed = false) => {
    told().classList.toggle("failed", failed);
    told().textContent = "";
    told().textContent = words;
  };

  // What is only heard: a text that comes into view would push the picture down under somebody's pointer.
  const whisper = (words) => {
    document.getElementById("whisper").textContent = words;
  };

  // -- edits ---------------------------------------------------------------------------------------------------------
  const put = (page, focus) => {
    const fresh = page.getElementById("flow");
    const [left, top] = [canvas()?.scrollLeft ?? 0, canvas()?.scrollTop ?? 0];
    root().replaceWith(document.adoptNode(fresh));
    const who = page.querySelector(".who");
    if (who) document.querySelector(".who")?.replaceWith(document.adoptNode(who));
    say(page.getElementById("said").textContent, false);
    history.replaceState(null, "", root().dataset.post);
    start();
    canvas()?.scrollTo(left, top);
    const wrong = root().querySelector("[role=alert]");
    if (wrong) wrong.focus();
    else go(nodeOf(root().dataset.focus) ?? nodeOf(focus) ?? nodes()[0]);
  };

  const post = async (fields, focus = "") => {
    if (busy) return;
    busy = true;
    root().setAttribute("aria-busy", "true");
    try {
      const body = new URLSearchParams({ csrf_token: root().dataset.token, ...fields });
      const answer = await fetch(root().dataset.post, { method: "POST", body, headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (page.getElementById("flow")) put(page, focus);
      else if (answer.redirected) location.reload(); // signed out meanwhile
      else say(page.querySelector("h1")?.textContent || `${answer.status} ${answer.statusText}`, true);
    } catch {
      say(told().dataset.failed, true);
    } finally {
      busy = false;
      root().removeAttribute("aria-busy");
    }
  };

  const connect = (port, destination) => {
    const node = port.closest(".node");
    const fields = { place: port.dataset.port, destination, _etag: node.dataset.etag, _seen: root().dataset.seen };
    post({ _do: "connect", ...fields }, node.dataset.node);
  };

  // -- the dialog that chooses where calls go ------------------------------------------------------------------------
  const ask = (node, port) => {
    const several = ports(node);
    if (!several.length) {
      say(text(node.querySelector(".port") ? "locked" : "cant"));
      return;
    }
    const which = document.getElementById("connect-port");
    which.replaceChildren(...several.map((each) => new Option(`${each.dataset.label}: ${each.dataset.says}`, each.dataset.port)));
    which.value = (port ?? several[0]).dataset.port;
    document.getElementById("connect-which").hidden = several.length === 1;
    document.getElementById("connect-title").textContent = text("where", { name: node.dataset.title });
    about(which.value);
    show(dialog("connect"));
    (several.length > 1 && !port ? which : document.getElementById("connect-to")).focus();
  };

  const about = (name) => {
    place = name;
    const port = portOf(name);
    const node = port.closest(".node");
    const picker = dialog("connect").querySelector(".picker");
    const select = picker.querySelector("select");
    picker.dataset.url = `${root().dataset.targets}?place=${encodeURIComponent(name)}`;
    [...select.options].slice(1).forEach((option) => option.remove());
    select.value = "";
    document.getElementById("connect-to").value = "";
    document.getElementById("connect-more").textContent = `${port.dataset.label}: ${port.dataset.says}`;
    document.getElementById("connect-none").hidden = !port.dataset.optional || port.classList.contains("vacant");
    document.getElementById("connect-form").href = `${node.dataset.form}#${port.dataset.control}`;
    for (const link of dialog("connect").querySelectorAll("[data-new]")) {
      link.href = address(link.dataset.new, { near: node.dataset.node, from: name });
    }
  };

  const address = (path, more) => {
    const url = new URL(path, location.href);
    for (const [name, value] of Object.entries(more)) url.searchParams.set(name, value);
    return `${url.pathname}${url.search}`;
  };

  const asked = () => {
    const box = dialog("connect");
    const port = portOf(place);
    const chosen = box.querySelector(".picker select").value;
    const answer = box.returnValue;
    box.returnValue = "";
    if (!port) return;
    if (answer === "go" && chosen) connect(port, chosen);
    else if (answer === "none") connect(port, "null");
    else back(port.closest(".node"));
  };

  // -- the dialog that asks before something is removed --------------------------------------------------------------
  const remove = async (node) => {
    if (!node.dataset.remove) {
      say(text("locked"));
      return;
    }
    doomed = node.dataset.node;
    document.getElementById("removal-title").textContent = text("removal", { name: node.dataset.title });
    const users = document.getElementById("removal-users");
    users.replaceChildren();
    try {
      const answer = await fetch(node.dataset.remove);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const list = page.querySelector("ul.users");
      const [before] = list ? [list.previousElementSibling] : page.querySelectorAll("main h1 ~ p");
      users.append(...[before, list].filter(Boolean).map((each) => document.adoptNode(each)));
    } catch {
      say(told().dataset.failed, true);
      return;
    }
    show(dialog("removal"));
  };

  const removed = () => {
    const node = nodeOf(doomed);
    const answer = dialog("removal").returnValue;
    dialog("removal").returnValue = "";
    if (!node) return;
    if (answer === "go") post({ _do: "remove", object: doomed, _etag: node.dataset.etag });
    else back(node);
  };

  const show = (box) => {
    opener = document.activeElement;
    box.showModal();
  };

  // A dialog tells that it is closed a little later: who has gone on by then stays there.
  const back = (node) => {
    const at = document.activeElement;
    if (!at || at === document.body || at === opener || at.closest("dialog")) go(node);
  };

  // -- moving about --------------------------------------------------------------------------------------------------
  const go = (node) => {
    if (!node) return;
    for (const each of nodes()) each.querySelector("a.box").tabIndex = each === node ? 0 : -1;
    node.querySelector("a.box").focus({ preventScroll: true });
    node.scrollIntoView({ block: "nearest", inline: "nearest" });
  };

  const bounds = (node) => node.querySelector(".body").getBoundingClientRect();
  const middle = (box) => [box.left + box.width / 2, box.top + box.height / 2];

  const neighbour = (node, key) => {
    const here = bounds(node);
    const [x, y] = middle(here);
    const sideways = key === "ArrowRight" || key === "ArrowLeft";
    const sign = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
    const name = node.dataset.node;
    const linked = new Set(
      [...picture().querySelectorAll(".way")]
        .filter((way) => (sign > 0 ? way.dataset.source : way.dataset.target) === name)
        .map((way) => (sign > 0 ? way.dataset.target : way.dataset.source)),
    );
    const found = nodes()
      .filter((each) => each !== node)
      .map((each) => {
        const box = bounds(each);
        const [ox, oy] = middle(box);
        const along = sign * (sideways ? ox - x : oy - y);
        const across = Math.abs(sideways ? oy - y : ox - x);
        const joined = sideways && linked.has(each.dataset.node);
        return { each, along, across, joined };
      })
      .filter(({ along, across }) => along > 4 && (sideways || across < here.width));
    found.sort((one, other) => Number(other.joined) - Number(one.joined) || one.along + 2 * one.across - (other.along + 2 * other.across));
    return found[0]?.each;
  };

  const zoom = (to) => {
    const svg = picture();
    if (!svg) return;
    const whole = Math.min(1, (canvas().clientWidth - 2) / Number(svg.dataset.width));
    scale = to === "fit" ? whole : to === "first" ? (whole < READABLE ? 1 : whole) : to === "in" ? scale * 1.25 : to === "out" ? scale / 1.25 : to;
    scale = Math.min(SCALES[1], Math.max(SCALES[0], scale));
    svg.setAttribute("width", Number(svg.dataset.width) * scale);
    svg.setAttribute("height", Number(svg.dataset.height) * scale);
  };
  const zoomed = (to) => {
    zoom(to);
    whisper(text("percent", { percent: Math.round(scale * 100) }));
  };

  const keyed = (event) => {
    const typing = event.target.closest("input, select, textarea, dialog");
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !typing && document.getElementById("undo")) {
      event.preventDefault();
      takeBack(document.getElementById("undo").form);
      return;
    }
    if (event.key === "Escape" && drag) end(null);
    const node = event.target.closest("#picture .node");
    if (!node || event.ctrlKey || event.metaKey || event.altKey) return;
    const done = () => event.preventDefault();
    if (event.key.startsWith("Arrow")) {
      done();
      const next = neighbour(node, event.key);
      if (next) go(next);
      else whisper(text("none"));
    } else if (event.key === "Home") done(go(nodes()[0]));
    else if (event.key === "c" || event.key === "C") done(ask(node));
    else if (event.key === "n" || event.key === "N") done(root().querySelector(".palette a")?.focus());
    else if (event.key === "Delete") done(remove(node));
    else if (event.key === "+" || event.key === "=") done(zoomed("in"));
    else if (event.key === "-") done(zoomed("out"));
    else if (event.key === "0") done(zoomed("fit"));
  };

  const takeBack = (form) => post({ _do: "undo", steps: form.elements.steps.value });

  // -- dragging: from a dot, from the palette, of the ground ---------------------------------------------------------
  const pressed = (event) => {
    if (event.button !== 0 || busy) return;
    const port = event.target.closest(".port.movable");
    const add = event.target.closest("[data-add]");
    const ground = event.pointerType === "mouse" && !port && event.target.closest("#canvas") && !event.target.closest(".node");
    if (!port && !add && !ground) return;
    if (!add) event.preventDefault();
    drag = { port, add, ground, x: event.clientX, y: event.clientY, moved: false };
    if (ground) Object.assign(drag, { left: canvas().scrollLeft, top: canvas().scrollTop });
  };

  const moved = (event) => {
    if (!drag) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.moved && Math.hypot(dx, dy) < FAR) return;
    if (!drag.moved) begin();
    drag.moved = true;
    if (drag.ground) {
      canvas().scrollTo(drag.left - dx, drag.top - dy);
      return;
    }
    event.preventDefault();
    mark(under(event));
    if (drag.port) {
      const [x, y] = inside(event);
      const middleX = (drag.from[0] + x) / 2;
      drag.line.setAttribute("d", `M${drag.from[0]} ${drag.from[1]}C${middleX} ${drag.from[1]} ${middleX} ${y} ${x} ${y}`);
    } else {
      drag.ghost.style.left = `${event.clientX + 8}px`;
      drag.ghost.style.top = `${event.clientY + 8}px`;
    }
    const edge = canvas().getBoundingClientRect();
    const push = (at, low, high) => (at < low + 24 ? -16 : at > high - 24 ? 16 : 0);
    if (under(event)) canvas().scrollBy(push(event.clientX, edge.left, edge.right), push(event.clientY, edge.top, edge.bottom));
  };

  const inside = (event) => {
    const box = picture().getBoundingClientRect();
    return [(event.clientX - box.left) / scale, (event.clientY - box.top) / scale];
  };

  const begin = () => {
    if (drag.port) {
      const [node, port] = [drag.port.closest(".node"), drag.port].map((each) => each.transform.baseVal[0].matrix);
      drag.from = [node.e + port.e, node.f + port.f];
      drag.line = document.createElementNS("http://www.w3.org/2000/svg", "path");
      drag.line.setAttribute("class", "drawn");
      picture().append(drag.line);
      whisper(text("drop"));
    } else if (drag.add) {
      drag.ghost = drag.add.cloneNode(true);
      drag.ghost.classList.add("ghost");
      document.body.append(drag.ghost);
    } else {
      canvas().classList.add("moving");
    }
  };

  const under = (event) => document.elementFromPoint(event.clientX, event.clientY)?.closest(".port.movable, .node, #canvas");

  const mark = (target) => {
    for (const each of picture().querySelectorAll(".drop, .refused")) each.classList.remove("drop", "refused");
    const node = target?.closest(".node");
    if (!node || node === drag.port?.closest(".node")) return;
    const good = drag.port ? node.dataset.to : node.dataset.to || ports(node).length;
    (drag.add && target.matches(".port") ? target : node).classList.add(good ? "drop" : "refused");
  };

  const end = (event) => {
    if (!drag) return;
    const { port, add, moved: was, line, ghost } = drag;
    const target = event && was ? under(event) : null;
    line?.remove();
    ghost?.remove();
    canvas()?.classList.remove("moving");
    for (const each of picture()?.querySelectorAll(".drop, .refused") ?? []) each.classList.remove("drop", "refused");
    drag = null;
    if (!event || (add && !was)) return;
    if (port && !was) ask(port.closest(".node"), port);
    else if (port) dropped(port, target);
    else if (add && target) {
      window.addEventListener("click", (click) => click.preventDefault(), { capture: true, once: true });
      setTimeout(() => location.assign(added(add, target)));
    }
  };

  const dropped = (port, target) => {
    const node = target?.closest(".node");
    if (!node) ask(port.closest(".node"), port);
    else if (node.dataset.to) connect(port, node.dataset.to);
    else say(text("cant"));
  };

  const added = (add, target) => {
    const node = target.closest(".node");
    if (!node) return add.href;
    const port = target.matches(".port.movable") ? target : ports(node)[0];
    if (add.dataset.reached && port) return address(add.href, { near: node.dataset.node, from: port.dataset.port });
    if (add.dataset.sends && node.dataset.to) return address(add.href, { near: node.dataset.node, to: node.dataset.to });
    return address(add.href, { near: node.dataset.node });
  };

  // -- to begin with -------------------------------------------------------------------------------------------------
  const start = () => {
    if (!picture()) return;
    root().querySelector(".zoom").hidden = false;
    for (const [index, node] of nodes().entries()) node.querySelector("a.box").tabIndex = index ? -1 : 0;
    const first = !scale;
    zoom(scale || "first");
    const start = nodes()[0]?.querySelector(".body").getBoundingClientRect();
    if (first && start) canvas().scrollTop = start.top - canvas().getBoundingClientRect().top - canvas().clientHeight / 2;
  };

  document.addEventListener("DOMContentLoaded", () => {
    if (!root()) return;
    start();
    dialog("connect").addEventListener("close", asked);
    dialog("connect").addEventListener("submit", (event) => {
      const go = event.submitter?.value === "go";
      if (go && !dialog("connect").querySelector(".picker select").value) {
        event.preventDefault();
        document.getElementById("connect-to").focus();
      }
    });
    document.getElementById("connect-port").addEventListener("change", (event) => about(event.target.value));
    dialog("removal").addEventListener("close", removed);
    document.addEventListener("keydown", keyed);
    document.addEventListener("pointerdown", pressed);
    document.addEventListener("pointermove", moved);
    document.addEventListener("pointerup", end);
    document.addEventListener("pointercancel", () => end(null));
    document.addEventListener("dragstart", (event) => event.target.closest("#flow") && event.preventDefault());
    document.addEventListener("focusin", (event) => {
      const node = event.target.closest("#picture .node");
      if (node) for (const each of nodes()) each.querySelector("a.box").tabIndex = each === node ? 0 : -1;
    });
    document.addEventListener("click", (event) => {
      const link = event.target.closest("[data-connect]");
      const port = link && portOf(link.dataset.connect);
      if (port) {
        event.preventDefault();
        ask(port.closest(".node"), port);
      }
      const size = event.target.closest("[data-zoom]");
      if (size) zoomed(size.dataset.zoom);
    });
    document.addEventListener("submit", (event) => {
      if (!event.target.matches(".undo")) return;
      event.preventDefault();
      takeBack(event.target);
    });
    document.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey || !event.target.closest("#canvas")) return;
        event.preventDefault();
        zoom(event.deltaY < 0 ? "in" : "out");
      },
      { passive: false },
    );
    const node = nodeOf(root().dataset.focus);
    if (node) go(node);
  });
})();
