/**
 * Work on rooms is synchronous over what is in memory: it is tried, whatever it misses is loaded, and it is tried again.
 * So a send into a room that is at hand awaits nothing before its commit, and nothing can change between a look and the
 * step that follows from it.
 */

/** Thrown by a synchronous look at something that is not in memory. */
export class Missing {
  constructor(readonly load: () => Promise<unknown>) {}
}

/** Work that goes on missing things after so many loads is at fault, or the memory is absurdly small. */
const maxLoads = 200

/** `task` must change nothing before its last look, or go on from there. */
export async function whenLoaded<T>(task: () => T, most = maxLoads): Promise<T> {
  for (let loads = 0; ; loads++) {
    try {
      return task()
    } catch (cause) {
      if (!(cause instanceof Missing) || loads === most) throw cause
      await cause.load()
    }
  }
}
