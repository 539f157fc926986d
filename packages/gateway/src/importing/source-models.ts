/** Models that a source names, for an agent or a session. Pure. */

/** Providers that work here with a key alone; another one's address and key are for its owner to set. */
const families = ["anthropic", "openai", "google"];

/** Whether a model of this name, `provider/name`, can be used here once its provider's key is set. */
export function isKnownModel(model: string): boolean {
  const [provider = "", name = ""] = model.split(/\/(.*)/s, 2);
  return families.includes(provider) && /^[\w.:@/-]{1,200}$/.test(name);
}

/** What is said of a model that does not come along. */
export function withoutModel(model: string, nameOf: (text: string) => string): string {
  const [provider = ""] = model.split("/", 1);
  return `without its model ${nameOf(model)}: set models.providers.${nameOf(provider)} first`;
}
