"use strict";
// The trajectory browser. Texts reach the page as text nodes only, never as markup.
(() => {
  const sources = JSON.parse(document.getElementById("data").textContent);
  const frame = document.getElementById("browser");
  const state = { source: 0, group: 0, attempt: 0, mixed: false };

  const make = (tag, properties = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name === "class") node.className = value;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null));
    return node;
  };
  const signed = (value) => (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(2);
  const isRight = (attempt) => attempt.outcome === "match";
  const isMixed = (group) => new Set(group.attempts.map(isRight)).size === 2;
  const groupsOf = (source) => {
    const all = source.groups.map((group, place) => ({ group, place }));
    return state.mixed ? all.filter((one) => isMixed(one.group)) : all;
  };

  // The largest credit of the group, over both algorithms: they are in the same unit.
  const reach = (group) =>
    Math.max(1e-9, ...Object.values(group.credit).flat(2).map(Math.abs));
  const chip = (value, most) => {
    const strength = (0.6 * Math.abs(value)) / most;  // pale enough for the number on it
    const colour = value < 0 ? "--minus" : "--plus";
    const style = `background:rgba(var(${colour}),${strength.toFixed(3)})`;
    return make("span", { class: "chip", style }, signed(value));
  };

  const chooser = (label, options, chosen, onchange, kind) => {
    const select = make("select", { onchange: (event) => onchange(Number(event.target.value)) });
    options.forEach(([value, text]) => select.append(make("option", { value }, text)));
    select.value = String(chosen);
    return make("label", { class: kind }, label, select);
  };

  const controls = (source) => {
    const listed = groupsOf(source);
    const box = make("input", { type: "checkbox", onchange: (event) => {
      state.mixed = event.target.checked;
      const first = groupsOf(sources[state.source])[0];
      show({ group: first ? first.place : 0, attempt: 0 });
    } });
    box.checked = state.mixed;
    return make("div", { class: "controls" },
      chooser("From", sources.map((one, place) => [place, one.name]), state.source, (source) => {
        const first = groupsOf(sources[source])[0];
        show({ source, group: first ? first.place : 0, attempt: 0 });
      }, ""),
      chooser("Task", listed.map(({ group, place }) => [place, titleOf(group)]), state.group,
        (group) => show({ group, attempt: 0 }), "long"),
      make("label", { class: "row" }, box, "only groups with right and wrong attempts"));
  };
  const titleOf = (group) => {
    const right = group.attempts.filter(isRight).length;
    return `${right}/${group.attempts.length} right · ${group.question.slice(0, 120)}`;
  };

  const strips = (group, place) => {
    const rows = Object.entries(group.credit).map(([name, credit]) =>
      make("span", { class: "strip" }, make("span", { class: "name" }, name),
        ...credit[place].map((value) => chip(value, reach(group)))));
    return make("span", { class: "strips" }, ...rows);
  };
  const attempts = (group) => make("div", { class: "attempts", role: "group",
    "aria-label": "Attempts at this task" },
    ...group.attempts.map((attempt, place) => make("button", {
      type: "button", class: "attempt", "aria-pressed": String(place === state.attempt),
      onclick: () => show({ attempt: place }),
    },
    make("span", { class: "said" }, make("b", {}, attempt.name), " ",
      make("span", { class: isRight(attempt) ? "match" : "miss" },
        attempt.outcome.replaceAll("_", " ")),
      make("small", {}, ` ${attempt.steps.length} turn${attempt.steps.length === 1 ? "" : "s"}`)),
    strips(group, place))));

  const badges = (step) => {
    const bad = !["ok", "truncated"].includes(step.kind);
    return [
      make("span", { class: `badge ${bad ? "bad" : ""}` }, step.kind.replaceAll("_", " ")),
      step.redundant ? make("span", { class: "badge bad" }, "redundant") : null,
      step.outcome > 0 ? make("span", { class: "badge good" }, "right answer") : null,
    ];
  };
  const block = (title, text) => make("div", {}, make("h5", {}, title),
    make("pre", { tabindex: "0" }, text));
  const earned = (group, step, place) => make("div", { class: "earned" },
    ...Object.entries(group.credit).filter(([, credit]) => credit[state.attempt].length)
      .map(([name, credit]) => make("span", { class: "credit" }, name,
        chip(credit[state.attempt][place], reach(group)))),
    make("span", { class: "terms" }, Object.entries(step.terms)
      .map(([name, value]) => `${name.replaceAll("_", " ")} ${signed(value)}`).join(" · ")),
    make("small", {}, `${step.tokens} tokens`));
  const card = (group) => (step, place) => make("li", { class: "step" },
    make("h4", {}, `Turn ${place + 1}`,
      step.tool ? make("span", { class: "badge" }, step.tool.replaceAll("_", " ")) : null,
      ...badges(step)),
    make("div", { class: "said-and-heard" },
      block("The policy wrote", step.text), block("It was answered", step.result)),
    earned(group, step, place));

  const about = (group) => [
    make("p", { class: "question" }, group.question),
    make("p", { class: "note" },
      [group.database, group.difficulty, group.task].filter(Boolean).join(" · ")),
    make("details", {}, make("summary", {}, "gold query"),
      make("pre", { tabindex: "0" }, group.gold.join("\n") || "none")),
    Object.keys(group.credit).length
      ? make("div", { class: "scale" }, "Credit per turn, in standard deviations: less",
        make("i", { "aria-hidden": "true" }), "more")
      : make("p", { class: "note" }, "A single attempt is compared with no other: no credit."),
  ];

  const show = (change) => {
    Object.assign(state, change);
    const focused = document.activeElement && frame.contains(document.activeElement)
      ? [...frame.querySelectorAll("select,input,button")].indexOf(document.activeElement) : -1;
    const source = sources[state.source];
    const listed = groupsOf(source);
    const found = listed.find((one) => one.place === state.group);
    const body = found
      ? [...about(found.group), attempts(found.group),
        make("ol", { class: "steps" },
          ...found.group.attempts[state.attempt].steps.map(card(found.group)))]
      : [make("p", { class: "note" }, "No group here has both.")];
    frame.replaceChildren(controls(source), ...body);
    if (focused >= 0) frame.querySelectorAll("select,input,button")[focused]?.focus();
  };

  if (sources.length === 0) {
    frame.replaceChildren(make("p", { class: "note" }, "This run has no transcripts yet."));
    return;
  }
  // Begin where there is most to see: where FineStep's credit differs most within one attempt,
  // in a group that was trained on if there is one.
  const candidates = sources.flatMap((one, source) => one.groups.flatMap((group, place) =>
    (group.credit.FineStep ?? []).flatMap((credit, member) => (credit.length
      ? [{ source, group: place, attempt: member, trained: one.name.startsWith("update"),
        spread: Math.max(...credit) - Math.min(...credit) }]
      : []))));
  candidates.sort((one, other) => other.trained - one.trained || other.spread - one.spread);
  const { source = 0, group = 0, attempt = 0 } = candidates[0] ?? {};
  show({ source, group, attempt });
})();
