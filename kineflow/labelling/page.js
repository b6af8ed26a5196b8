"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const given = JSON.parse(byId("content").textContent);
  const questions = given.questions;
  const labelAt = given.columns.indexOf("label"), pathAt = given.columns.indexOf("path");
  const whyAt = given.columns.indexOf("why");
  const startAt = given.columns.indexOf("start"), endAt = given.columns.indexOf("end");
  const video = byId("video"), typed = byId("typed");

  const KEYS = [..."123456789abcdefghijlnopqrtvwxyz"]; // without those that do something else: k m s u
  const SPEEDS = [0.25, 0.5, 0.75, 1, 1.5, 2];
  const MANY = 20; // classes, from which on one rather types than looks
  const SHOWN = 6; // probabilities
  const LONGEST = 1000; // letters of a label, as the list's reader has it
  const STORE = `kineflow-label-${given.key}`;

  // answers: by number of the question a class, or "" where it was skipped; history: what the last answers replaced.
  const state = { at: 0, answers: {}, history: [], added: [], saved: true };
  let isKept = true; // whether the browser keeps answers
  let speed = 1;

  function restore() {
    let kept = null;
    try {
      kept = JSON.parse(localStorage.getItem(STORE) || "null");
    } catch (error) {
      isKept = false;
    }
    if (!kept || typeof kept !== "object") return;
    const isLabel = (value) => typeof value === "string" && value.length <= LONGEST;
    for (const [number, label] of Object.entries(kept.answers || {})) {
      if (questions[number] && isLabel(label)) state.answers[number] = label;
    }
    if (Array.isArray(kept.added)) state.added = kept.added.filter((name) => isLabel(name) && name);
    if (Array.isArray(kept.history)) {
      state.history = kept.history.filter((step) => Array.isArray(step) && questions[step[0]]);
    }
    if (questions[kept.at]) state.at = Number(kept.at);
    state.saved = kept.saved === true;
  }

  function keep() {
    try {
      localStorage.setItem(STORE, JSON.stringify(state));
    } catch (error) {
      isKept = false;
    }
  }

  const classes = () => [...given.classes, ...state.added];
  const answerTo = (number) => state.answers[number];
  const isDone = (number) => answerTo(number) !== undefined;
  const percent = (value) => `${(100 * value).toFixed(value >= 0.0995 || value === 0 ? 0 : 1)} %`;

  // As kineflow/storage/spreadsheet.py: a spreadsheet must not take a name for a formula.
  const FORMULA = /^'*[=+\-@\t\r\n＝＋－＠]/;
  const NUMBER = /^([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan))$/;
  function cell(text) {
    const harmless = FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text;
    return /[",;\r\n\t]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
  }

  function answersAsCsv() {
    const rows = questions.map((question, number) =>
      question.row.map((value, column) => (column === labelAt ? answerTo(number) || "" : value)),
    );
    return `\uFEFF${[given.columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
  }

  function save() {
    const address = URL.createObjectURL(new Blob([answersAsCsv()], { type: "text/csv;charset=utf-8" }));
    const link = document.createElement("a");
    link.href = address;
    link.download = given.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
    state.saved = true;
    keep();
    show();
  }

  const inShell = (name) => (/^[\w.][\w.-]*$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`);
  function command() {
    const used = new Set(Object.values(state.answers));
    const fresh = state.added.filter((name) => used.has(name));
    return ["kineflow label", given.file, ...fresh.map((name) => `--new-class ${inShell(name)}`)].join(" ");
  }

  // Two names that differ only in case, blanks, _ or - are one class, as kineflow label has it.
  const plain = (name) => name.normalize("NFC").toLowerCase().replace(/[\s_-]+/gu, "");
  const tidy = (name) => name.normalize("NFC").replace(/[\s\p{C}]+/gu, " ").trim();

  function answer(label) {
    const number = state.at;
    state.history.push([number, isDone(number) ? answerTo(number) : null]);
    state.answers[number] = label;
    state.saved = false;
    say(number);
    const rest = questions.findIndex((_, other) => other > number && !isDone(other));
    const first = questions.findIndex((_, other) => !isDone(other));
    if (rest >= 0 || first >= 0) state.at = rest >= 0 ? rest : first;
    closeTyped();
    keep();
    show();
  }

  function undo() {
    const step = state.history.pop();
    if (!step) return;
    const [number, before] = step;
    if (typeof before === "string") state.answers[number] = before;
    else delete state.answers[number];
    state.at = Number(number);
    state.saved = false;
    byId("last").textContent = `Clip ${state.at + 1}: taken back.`;
    keep();
    show();
  }

  function say(number) {
    const label = answerTo(number);
    const said = questions[number].probabilities.slice(0, 3).map(([name, value]) => `${name} ${percent(value)}`);
    byId("last").textContent =
      label === "" ? `Clip ${number + 1}: skipped.`
      : `Clip ${number + 1}: ${label}.${said.length ? ` The model said ${said.join(", ")}.` : ""}`;
  }

  function move(by) {
    state.at = Math.min(questions.length - 1, Math.max(0, state.at + by));
    keep();
    show();
  }

  function change(by) {
    const at = SPEEDS.indexOf(speed) + by;
    speed = SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, at))];
    video.playbackRate = speed;
    byId("speed").textContent = `${speed}×`;
  }

  function play() {
    if (video.paused) video.play().catch(() => {});
    else video.pause();
  }

  function button(text, key) {
    const made = document.createElement("button");
    fill(made, text, key);
    return made;
  }

  function fill(made, text, key) {
    const name = document.createElement("span");
    name.textContent = text;
    made.replaceChildren(name);
    if (key) {
      const badge = document.createElement("kbd");
      badge.textContent = key;
      made.append(badge);
    }
  }

  let drawn = "";
  function drawClasses() {
    const now = JSON.stringify(classes());
    if (now === drawn) return; // buttons stay, and so does the focus on one
    drawn = now;
    byId("classes").replaceChildren(
      ...classes().map((name, number) => {
        const made = button(name, KEYS[number]);
        made.addEventListener("click", () => answer(name));
        return made;
      }),
    );
    const isMany = classes().length > MANY;
    byId("typed-label").textContent = isMany ? "Find a class, or name another ( / )" : "Another class ( / )";
    if (isMany) byId("classes").before(byId("typed-label"), byId("typing"));
  }

  const shownClasses = () => [...byId("classes").children].filter((each) => !each.hidden);

  function filter() {
    const wanted = plain(typed.value), all = classes();
    [...byId("classes").children].forEach((each, number) => {
      each.hidden = wanted !== "" && !plain(all[number]).includes(wanted);
    });
    byId("add").disabled = wanted === "" || all.some((name) => plain(name) === wanted);
  }

  function closeTyped() {
    typed.value = "";
    filter();
    typed.blur();
  }

  function add() {
    const name = tidy(typed.value);
    if (!plain(name)) return;
    const known = classes().find((other) => plain(other) === plain(name));
    if (!known) state.added.push(name);
    answer(known || name);
  }

  function enterTyped() {
    const exact = classes().find((name) => plain(name) === plain(typed.value));
    const left = shownClasses();
    if (exact) answer(exact);
    else if (plain(typed.value) && left.length === 1) left[0].click();
    else if (!left.length) add();
  }

  function show() {
    const number = state.at, question = questions[number], label = answerTo(number);
    const present = question.row[labelAt];
    drawClasses();
    const kind = questions.filter((other) => other.suspected === question.suspected);
    byId("kind").textContent =
      `${question.suspected ? "Suspected label error" : "Suggested"} ${kind.indexOf(question) + 1} of ${kind.length}`;
    byId("what").textContent = question.suspected ? `Is this really ${present}?` : "Which class is this?";
    const part = startAt < 0 ? ["", ""] : [question.row[startAt], question.row[endAt]];
    byId("name").textContent =
      question.row[pathAt] + (part[0] || part[1] ? `, ${part[0] || 0} s to ${part[1] ? `${part[1]} s` : "its end"}` : "");
    byId("why").textContent = question.row[whyAt];
    byId("why").hidden = !question.suspected || !question.row[whyAt];
    byId("model-why").textContent = question.row[whyAt];
    byId("model-why").hidden = question.suspected || !question.row[whyAt];
    byId("keep").hidden = !question.suspected;
    if (question.suspected) fill(byId("keep"), `Yes, it is ${present}`, "k");
    byId("keep").setAttribute("aria-pressed", String(question.suspected && label === present));
    [...byId("classes").children].forEach((each, place) => {
      each.setAttribute("aria-pressed", String(classes()[place] === label));
    });
    byId("skip").setAttribute("aria-pressed", String(label === ""));
    byId("undo").disabled = !state.history.length;
    byId("back").disabled = number === 0;
    byId("next").disabled = number === questions.length - 1;
    byId("probabilities").replaceChildren(
      ...question.probabilities.slice(0, SHOWN).map(([name, value]) => {
        const row = document.createElement("tr");
        row.insertCell().textContent = name;
        row.insertCell().textContent = percent(value);
        return row;
      }),
    );
    if (shownClip !== number) {
      byId("model").open = Boolean(label); // a clip that was skipped has no answer yet
      showClip(number);
    }
    showProgress();
  }

  let shownClip = -1, ahead = null;
  function showClip(number) {
    shownClip = number;
    byId("trouble").hidden = true;
    video.src = questions[number].clip;
    video.defaultPlaybackRate = speed; // a new clip starts at this one
    video.playbackRate = speed;
    video.play().catch(() => {});
    if (questions[number + 1]) {
      ahead = document.createElement("video");
      ahead.preload = "auto";
      ahead.src = questions[number + 1].clip;
    }
  }

  function showProgress() {
    const values = Object.values(state.answers), skipped = values.filter((label) => label === "").length;
    const answered = values.length - skipped;
    byId("progress").textContent =
      `Clip ${state.at + 1} of ${questions.length} · ${answered} answered` +
      (skipped ? ` · ${skipped} skipped` : "") +
      (values.length && !state.saved ? " · not saved as a file yet" : "");
    [...byId("segments").children].forEach((each, number) => {
      each.className =
        number === state.at ? "here" : !isDone(number) ? "" : answerTo(number) ? "answered" : "skipped";
    });
    const isAll = values.length === questions.length;
    const after = byId("after");
    after.hidden = !(isAll || (values.length && state.saved)) && isKept;
    after.textContent =
      values.length && state.saved ? `Saved as ${given.file}. In the project: ${command()}`
      : isAll ? "All clips have an answer: save them (Ctrl S)."
      : "This browser does not keep answers for a page like this: save them before you close it.";
  }

  const ON = {
    back: () => move(-1), next: () => move(1), pause: play, slower: () => change(-1), faster: () => change(1),
    skip: () => answer(""), undo, save, add, keep: () => keepLabel(),
  };
  for (const [id, work] of Object.entries(ON)) byId(id).addEventListener("click", work);
  function keepLabel() {
    const question = questions[state.at];
    if (question.suspected) answer(question.row[labelAt]);
  }
  document.addEventListener("mousedown", (event) => {
    if (event.target.closest("button")) event.preventDefault(); // else space would press it again
  });
  typed.addEventListener("input", filter);
  video.addEventListener("error", () => {
    byId("trouble").textContent = `This browser cannot play ${questions[state.at].clip}. Look at the file by itself, or skip it.`;
    byId("trouble").hidden = false;
  });
  for (const name of ["play", "pause"]) {
    video.addEventListener(name, () => (byId("pause").textContent = video.paused ? "Play" : "Pause"));
  }
  byId("segments").append(...questions.map(() => document.createElement("i")));
  byId("segments").addEventListener("click", (event) => {
    const number = [...byId("segments").children].indexOf(event.target);
    if (number >= 0) move(number - state.at);
  });

  const AT_KEY = {
    arrowleft: () => move(-1), arrowright: () => move(1), " ": play, "-": () => change(-1), "−": () => change(-1),
    "+": () => change(1), "=": () => change(1), s: () => answer(""), u: undo, k: keepLabel,
    m: () => (byId("model").open = !byId("model").open), "/": () => typed.focus(),
  };
  const MAY_REPEAT = ["arrowleft", "arrowright", "-", "+"];
  document.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase();
    if ((event.ctrlKey || event.metaKey) && key === "s") {
      event.preventDefault();
      if (!event.repeat) save();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target === typed) {
      if (key === "escape") closeTyped();
      if (key === "enter") enterTyped();
      return;
    }
    const isOnControl = event.target.closest("button, summary");
    if (isOnControl && (key === " " || key === "enter")) return;
    if (event.repeat && !MAY_REPEAT.includes(key)) return; // a key that is held down answers once
    const name = classes()[KEYS.indexOf(key)];
    const work = AT_KEY[key] || (KEYS.includes(key) && name !== undefined ? () => answer(name) : null);
    if (!work) return;
    event.preventDefault();
    work();
  });
  window.addEventListener("beforeunload", (event) => {
    if (!isKept && !state.saved) event.preventDefault();
  });

  restore();
  show();
})();
