/** What another server answered is written to a terminal: nothing in it moves the cursor or makes lines. */
export const printable = (text: string): string => text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '\uFFFD')
