// What the browser keeps for the pages. It may refuse that (cookies that are blocked, a store that is full); then it holds until the page is left.

class Kept {
  private readonly own = new Map<string, string>();

  constructor(private readonly storage: () => Storage) {}

  get(name: string): string | null {
    try {
      return this.own.get(name) ?? this.storage().getItem(`tidegate.${name}`);
    } catch {
      return null;
    }
  }

  set(name: string, value: string): void {
    this.own.set(name, value);
    try {
      this.storage().setItem(`tidegate.${name}`, value);
    } catch {
      // It holds for this page.
    }
  }

  remove(name: string): void {
    this.own.delete(name);
    try {
      this.storage().removeItem(`tidegate.${name}`);
    } catch {
      // It was never kept.
    }
  }
}

/** Forgotten with the tab. */
export const inTab = new Kept(() => sessionStorage);
/** For all tabs, until the reader clears it. */
export const inBrowser = new Kept(() => localStorage);
