// The conversation: prompts, their answers under one setting or two, and what is sent with the next.

import { Answer } from "./answer.js";
import { byId, element } from "./dom.js";

export class Chat {
  constructor() {
    this.turns = [];
  }

  get last() {
    return this.turns.at(-1);
  }

  /** The messages for `prompt` after this conversation, as the setting `name` has heard it. */
  messages(prompt, name) {
    const earlier = this.turns.filter((turn) => !turn.superseded);
    return [...earlier.flatMap((turn) => said(turn, name)), { role: "user", content: prompt }];
  }

  /** Open a turn; `settings` by name. Returns its answers by name, each with its messages. */
  begin(prompt, settings) {
    byId("welcome").hidden = true;
    const names = Object.keys(settings);
    const asks = names.map((name) => [
      name,
      {
        answer: new Answer(names.length > 1 ? name : null, settings[name].summary),
        messages: this.messages(prompt, name),
        fields: settings[name].fields,
      },
    ]);
    const turn = { prompt, asks: Object.fromEntries(asks), superseded: false };
    this.turns.push(turn);
    const answers = asks.map(([, ask]) => ask.answer.card);
    byId("turns").append(
      element(
        "li",
        { class: "turn" },
        element("p", { class: "prompt" }, element("span", { class: "visually-hidden" }, "You: "), prompt),
        element("div", { class: names.length > 1 ? "answers two" : "answers" }, ...answers),
      ),
    );
    return turn;
  }

  /** The last prompt is asked again: what was answered before is not told to the model. */
  supersede() {
    this.last.superseded = true;
    return this.last.prompt;
  }

  clear() {
    this.turns = [];
    byId("turns").replaceChildren();
    byId("welcome").hidden = false;
  }
}

function said(turn, name) {
  const ask = turn.asks[name] ?? Object.values(turn.asks)[0];
  if (ask.answer.said === "") return [];
  return [
    { role: "user", content: turn.prompt },
    { role: "assistant", content: ask.answer.said },
  ];
}
