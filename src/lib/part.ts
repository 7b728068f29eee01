/** A newer version wrote it. What it means cannot be known here, and nothing is passed over. */
export class UnknownPart extends Error {
  constructor(part: string) {
    super(`the log holds "${part}", which this version does not know`);
  }
}
