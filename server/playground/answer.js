// One answer: streamed into a card as it comes.

import { element } from "./dom.js";

export class Answer {
  /** `label` is the setting's name where there are two; `summary` says what it asks for. */
  constructor(label, summary) {
    this.text = "";
    this.refusal = "";
    this.details = null;
    this.badge = element("span", { class: "badge" }, "…");
    this.body = element("p", { class: "text" });
    this.refusalBody = element("p", { class: "text", hidden: true });
    this.note = element("p", { class: "muted small", hidden: true });
    const head = element("div", { class: "answer-head" });
    if (label !== null) head.append(element("span", { class: "label" }, label));
    head.append(this.badge, element("span", { class: "muted small" }, summary));
    this.card = element(
      "article",
      { class: "answer", "aria-label": label === null ? "Answer" : `Answer under setting ${label}` },
      head,
      this.body,
      this.refusalBody,
      this.note,
    );
    this.card.setAttribute("aria-busy", "true");
  }

  /** Take in one chunk of the stream. */
  add(chunk) {
    for (const choice of chunk.choices) {
      if (choice.refusal_details) this.#decide(choice.refusal_details);
      this.text += choice.delta.content ?? "";
      this.refusal += choice.delta.refusal ?? "";
      if (choice.finish_reason === "length") this.remark("Cut off at the limit of its length.");
    }
    // A server that mirrors refusals sends their text twice.
    this.body.textContent = this.text === this.refusal ? "" : this.text;
    this.body.hidden = this.body.textContent === "";
    this.refusalBody.textContent = this.refusal;
    this.refusalBody.hidden = this.refusal === "";
  }

  #decide(details) {
    this.details = { ...this.details, ...withoutNulls(details) };
    const { refused, category, position } = details;
    const where = position > 0 ? `, after ${position} tokens` : "";
    this.badge.textContent = refused ? `Refused: ${category}${where}` : "Answered";
    this.card.classList.toggle("refused", refused);
    this.card.classList.toggle("answered", !refused);
  }

  /** Say something about the answer below it. */
  remark(text) {
    this.note.textContent = text;
    this.note.hidden = false;
  }

  /** It is complete, or as complete as it gets. */
  end() {
    this.card.setAttribute("aria-busy", "false");
    if (this.details === null) this.badge.textContent = "No answer";
  }

  /** What a later request tells the model that it has said. */
  get said() {
    return this.text === this.refusal ? this.refusal : this.text + this.refusal;
  }

  /** The whole of it in a sentence or two, for screen readers. */
  get spoken() {
    const note = this.note.hidden ? "" : ` ${this.note.textContent}`;
    return `${this.badge.textContent}. ${this.said}${note}`;
  }
}

function withoutNulls(record) {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== null));
}
