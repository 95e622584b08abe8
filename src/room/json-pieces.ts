/** A JSON text whose parts come one after the other, each encoded when it comes: answers of tens of megabytes. */
export class JsonPieces {
  private readonly pieces: Buffer[] = []

  add(text: string): void {
    this.pieces.push(Buffer.from(text))
  }

  /** An array of JSON texts. */
  async addArray(items: AsyncIterable<readonly string[]>): Promise<void> {
    this.add('[')
    let isFirst = true
    for await (const some of items) {
      if (some.length === 0) continue
      this.add(`${isFirst ? '' : ','}${some.join(',')}`)
      isFirst = false
    }
    this.add(']')
  }

  bytes(): Buffer {
    return Buffer.concat(this.pieces)
  }
}
