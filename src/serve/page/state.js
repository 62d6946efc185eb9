/** What survives a reload. Storage can be switched off or full: then nothing is kept, and nothing fails. */

/**
 * @param {Storage | undefined} storage
 * @returns {{ load: (key: string, fallback: any) => any, save: (key: string, value: any) => boolean }}
 */
function keeper(storage) {
  return {
    load(key, fallback) {
      try {
        const text = storage?.getItem(`chargru.${key}`);
        return text == null ? fallback : JSON.parse(text);
      } catch {
        return fallback;
      }
    },
    save(key, value) {
      try {
        storage?.setItem(`chargru.${key}`, JSON.stringify(value));
        return true;
      } catch {
        return false;
      }
    },
  };
}

/** Even to read the property `localStorage` fails where cookies are blocked. */
function open(name) {
  try {
    return window[name];
  } catch {
    return undefined;
  }
}

/** Settings: kept for good. */
export const settings = keeper(open("localStorage"));

/** Texts, tab, key: kept as long as the browser's tab. */
export const session = keeper(open("sessionStorage"));

/**
 * Keeps what is typed into a field.
 * @param {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} field
 * @param {ReturnType<typeof keeper>} store
 */
export function keepField(field, store) {
  const property = field.type === "checkbox" ? "checked" : "value";
  const kept = store.load(`field.${field.id || field.name}`, null);
  if (kept !== null) field[property] = kept;
  field.addEventListener("input", () => store.save(`field.${field.id || field.name}`, field[property]));
}
