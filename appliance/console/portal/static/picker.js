// Turns a <select> of references into a combobox that can be searched (ARIA 1.2, "editable combobox with list autocomplete").
// The select stays, hidden, and keeps the value: without scripts, or if this fails, it is what one uses.
"use strict";
(() => {
  const SHOWN = 100;
  let made = 0;

  const words = (text) => text.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const fits = (option, wanted) => {
    const text = `${option.label} ${option.value}`.toLocaleLowerCase();
    return wanted.every((word) => text.includes(word));
  };

  class Picker {
    constructor(place) {
      this.place = place;
      this.select = place.querySelector("select");
      this.number = ++made;
      this.options = [];
      this.active = -1;
      this.asked = 0;
      this.build();
    }

    build() {
      const { place, select } = this;
      const focused = select.autofocus || document.activeElement === select;
      const box = document.createElement("span");
      box.className = "combobox";
      const input = document.createElement("input");
      const list = document.createElement("ul");
      const state = document.createElement("span");
      for (const [name, value] of Object.entries({ type: "text", role: "combobox", autocomplete: "off", spellcheck: "false", "aria-autocomplete": "list", "aria-expanded": "false", "aria-haspopup": "listbox" })) input.setAttribute(name, value);
      for (const name of ["aria-label", "aria-describedby", "aria-required", "aria-invalid"]) {
        if (select.hasAttribute(name)) input.setAttribute(name, select.getAttribute(name));
      }
      list.setAttribute("role", "listbox");
      list.id = `choices-${this.number}`;
      list.hidden = true;
      const label = document.querySelector(`label[for="${CSS.escape(select.id)}"]`);
      if (label) {
        label.id = label.id || `label-${this.number}`;
        list.setAttribute("aria-labelledby", label.id);
      } else {
        list.setAttribute("aria-label", select.getAttribute("aria-label") || "");
      }
      state.className = "unseen";
      state.setAttribute("role", "status");
      input.id = select.id;
      select.removeAttribute("id");
      select.removeAttribute("autofocus");
      select.hidden = true;
      const find = place.querySelector(".find");
      if (find) find.hidden = true;
      box.append(input, list, state);
      place.prepend(box);
      Object.assign(this, { input, list, state });
      this.showValue();
      input.addEventListener("input", () => this.search(input.value));
      input.addEventListener("click", () => this.list.hidden && this.search(""));
      input.addEventListener("keydown", (event) => this.key(event));
      input.addEventListener("focus", () => input.select());
      input.addEventListener("blur", () => this.leave());
      list.addEventListener("mousedown", (event) => event.preventDefault());
      list.addEventListener("click", (event) => {
        const option = event.target.closest("[data-index]");
        if (option) this.choose(Number(option.dataset.index));
      });
      if (focused) input.focus();
    }

    showValue() {
      const chosen = this.select.selectedOptions[0];
      const empty = this.select.options[0]?.value === "" ? this.select.options[0].label : "";
      this.input.value = chosen && chosen.value ? chosen.label : "";
      this.input.placeholder = empty;
    }

    async search(text) {
      const asked = ++this.asked;
      const wanted = words(text);
      let options = [...this.select.options].map(({ value, label }) => ({ value, label })).filter(({ value }) => value);
      let more = 0;
      if (this.place.dataset.url) {
        try {
          const answer = await fetch(`${this.place.dataset.url}&q=${encodeURIComponent(text)}`, { headers: { Accept: "application/json" } });
          ({ choices: options, more } = await answer.json());
        } catch {
          options = options.filter((option) => fits(option, wanted));
        }
        if (asked !== this.asked) return;
      } else {
        options = options.filter((option) => fits(option, wanted));
        more = Math.max(0, options.length - SHOWN);
        options = options.slice(0, SHOWN);
      }
      this.open(options, more);
    }

    open(options, more) {
      this.options = options;
      this.active = -1;
      const { none, some } = this.place.dataset;
      const entries = options.map((option, index) => {
        const item = document.createElement("li");
        item.id = `${this.list.id}-${index}`;
        item.dataset.index = String(index);
        item.setAttribute("role", "option");
        item.setAttribute("aria-selected", "false");
        item.textContent = option.label;
        return item;
      });
      const note = !options.length ? none : more ? (this.place.dataset.more || "").replace("{count}", more) : "";
      if (note) {
        const item = document.createElement("li");
        item.className = "none";
        item.setAttribute("role", "option");
        item.setAttribute("aria-disabled", "true");
        item.setAttribute("aria-selected", "false");
        item.textContent = note;
        entries.push(item);
      }
      this.list.replaceChildren(...entries);
      this.list.hidden = false;
      this.input.setAttribute("aria-expanded", "true");
      this.input.setAttribute("aria-controls", this.list.id);
      this.state.textContent = options.length ? some.replace("{count}", options.length + more) : none;
      this.mark();
    }

    close() {
      this.asked++;
      this.list.hidden = true;
      this.list.replaceChildren();
      this.active = -1;
      this.input.setAttribute("aria-expanded", "false");
      this.input.removeAttribute("aria-activedescendant");
    }

    mark() {
      for (const item of this.list.querySelectorAll("[data-index]")) {
        const on = Number(item.dataset.index) === this.active;
        item.setAttribute("aria-selected", String(on));
        if (on) item.scrollIntoView({ block: "nearest" });
      }
      if (this.active >= 0) this.input.setAttribute("aria-activedescendant", `${this.list.id}-${this.active}`);
      else this.input.removeAttribute("aria-activedescendant");
    }

    async key(event) {
      const open = !this.list.hidden;
      const count = this.options.length;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        if (!open) {
          await this.search("");
          this.active = event.key === "ArrowDown" ? 0 : this.options.length - 1;
        } else if (count) {
          this.active = event.key === "ArrowDown" ? (this.active + 1) % count : (this.active <= 0 ? count : this.active) - 1;
        }
        this.mark();
      } else if (event.key === "Enter" && open) {
        event.preventDefault();
        if (this.active >= 0) this.choose(this.active);
        else if (count === 1) this.choose(0);
      } else if (event.key === "Escape" && open) {
        event.preventDefault();
        this.close();
        this.showValue();
      }
    }

    choose(index) {
      const { value, label } = this.options[index];
      let option = [...this.select.options].find((each) => each.value === value);
      if (!option) {
        option = new Option(label, value);
        this.select.append(option);
      }
      option.selected = true;
      this.close();
      this.showValue();
      this.select.dispatchEvent(new Event("change", { bubbles: true }));
    }

    leave() {
      if (!this.input.value.trim()) this.select.value = "";
      this.close();
      this.showValue();
    }
  }

  const improve = (root) => {
    const places = root.matches?.(".picker") ? [root] : root.querySelectorAll(".picker");
    for (const place of places) {
      if (place.querySelector("select:not(:disabled)") && !place.querySelector(".combobox")) new Picker(place);
    }
  };
  document.addEventListener("DOMContentLoaded", () => improve(document));
  document.addEventListener("htmx:load", (event) => improve(event.detail.elt));
})();
