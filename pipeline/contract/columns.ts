/**
 * Decoded ticks as columns: what crosses from the event loop to the store's thread, and what a bulk insert
 * wants. Numbers are typed arrays and repeated strings a dictionary, so that handing over 1,000 ticks copies
 * a few buffers instead of cloning 1,000 objects.
 */

/** `side` codes. */
export const SIDE_NONE = 0;
export const SIDE_BUY = 1;
export const SIDE_SELL = 2;
export const SIDE_NAMES: readonly (string | null)[] = [null, 'buy', 'sell'];

/** What trades and quotes have in common; row `i` of every column is one tick. */
export interface TickColumns {
  /** Place in the batch, 0-based. */
  index: Uint16Array;
  /** Epoch nanoseconds. */
  tsNs: BigInt64Array;
  /** Into the batch's `dictionary`. */
  symbol: Uint16Array;
  /** Ids, each followed by "\n" (ids hold no control characters); empty where the sender gave none. */
  ids: string;
  /** Into `dictionary` plus one; 0 is absent. */
  venue: Uint16Array;
  /** Into `dictionary` plus one, the conditions as a JSON array; 0 is absent. */
  conditions: Uint16Array;
}

export interface TradeColumns extends TickColumns {
  price: Float64Array;
  size: Float64Array;
  /** {@link SIDE_NONE}, {@link SIDE_BUY}, {@link SIDE_SELL}. */
  side: Uint8Array;
}

/** NaN is an absent side of the quote. */
export interface QuoteColumns extends TickColumns {
  bidPrice: Float64Array;
  bidSize: Float64Array;
  askPrice: Float64Array;
  askSize: Float64Array;
}

/** The accepted ticks of one batch. */
export interface BatchColumns {
  dictionary: string[];
  trades: TradeColumns | null;
  quotes: QuoteColumns | null;
}

/** Typed arrays of one trade and one quote. Source: the widths of {@link TradeColumns} and {@link QuoteColumns}. */
const TRADE_BYTES = 2 + 8 + 2 + 2 + 2 + 8 + 8 + 1;
const QUOTE_BYTES = 2 + 8 + 2 + 2 + 2 + 8 * 4;

/** What the columns occupy, strings counted at two bytes a character. */
export function columnsBytes({ dictionary, trades, quotes }: BatchColumns): number {
  let chars = (trades?.ids.length ?? 0) + (quotes?.ids.length ?? 0);
  for (const word of dictionary) chars += word.length;
  return chars * 2 + (trades?.index.length ?? 0) * TRADE_BYTES + (quotes?.index.length ?? 0) * QUOTE_BYTES;
}

/** Places in the batch of the ticks in the columns, in ascending order. */
export function placesOf({ trades, quotes }: BatchColumns): number[] {
  return [...(trades?.index ?? []), ...(quotes?.index ?? [])].sort((left, right) => left - right);
}

/** The ticks whose place in the batch is wanted. The dictionary is shared with `columns`. */
export function columnsWhere(columns: BatchColumns, isWanted: (place: number) => boolean): BatchColumns {
  const { dictionary, trades, quotes } = columns;
  return { dictionary, trades: rowsWhere(trades, isWanted), quotes: rowsWhere(quotes, isWanted) };
}

/** A typed array, as far as rows are picked from it. */
interface AnyColumn {
  readonly [row: number]: number | bigint;
  readonly constructor: { from(values: readonly unknown[]): unknown };
}

function rowsWhere<Columns extends TickColumns>(
  columns: Columns | null,
  isWanted: (place: number) => boolean,
): Columns | null {
  if (columns === null) return null;
  const rows = [...columns.index.keys()].filter((row) => isWanted(columns.index[row]!));
  if (rows.length === 0) return null;
  const picked = Object.entries(columns).map(([name, column]: [string, string | AnyColumn]) => {
    const values = typeof column === 'string' ? column.split('\n') : column;
    const kept = rows.map((row) => values[row]!);
    return [name, typeof column === 'string' ? `${kept.join('\n')}\n` : column.constructor.from(kept)];
  });
  return Object.fromEntries(picked) as Columns;
}

/** The identity of a tick that came without an id. Source: the contract, "The tick and the batch". */
export function generatedId(batchId: string, index: number): string {
  return `~${batchId}/${index}`;
}

/** One decoded tick, overwritten for each: the decoder fills it, {@link ColumnsBuilder} copies it. */
export interface TickRow {
  isQuote: boolean;
  symbol: string;
  seconds: number;
  nanos: number;
  id: string;
  venue: string | null;
  conditions: string | null;
  side: number;
  price: number;
  size: number;
  bidPrice: number;
  bidSize: number;
  askPrice: number;
  askSize: number;
}

export function emptyRow(): TickRow {
  return {
    isQuote: false,
    symbol: '',
    seconds: 0,
    nanos: 0,
    id: '',
    venue: null,
    conditions: null,
    side: SIDE_NONE,
    price: 0,
    size: 0,
    bidPrice: 0,
    bidSize: 0,
    askPrice: 0,
    askSize: 0,
  };
}

class TypeBuilder {
  count = 0;
  readonly index: Uint16Array;
  readonly tsNs: BigInt64Array;
  /** The same memory in halves, the lower one first, as all platforms of Node's and workerd's have it. */
  readonly tsHalves: Uint32Array;
  readonly symbol: Uint16Array;
  readonly ids: string[] = [];
  readonly venue: Uint16Array;
  readonly conditions: Uint16Array;
  readonly side: Uint8Array;
  /** price and size, or bid price, bid size, ask price, ask size. */
  readonly numbers: Float64Array[];

  constructor(maxTicks: number, numberColumns: number) {
    this.index = new Uint16Array(maxTicks);
    this.tsNs = new BigInt64Array(maxTicks);
    this.tsHalves = new Uint32Array(this.tsNs.buffer);
    this.symbol = new Uint16Array(maxTicks);
    this.venue = new Uint16Array(maxTicks);
    this.conditions = new Uint16Array(maxTicks);
    this.side = new Uint8Array(maxTicks);
    this.numbers = Array.from({ length: numberColumns }, () => new Float64Array(maxTicks));
  }

  takeCommon(): TickColumns {
    const n = this.count;
    const ids = this.ids.join('\n') + '\n';
    this.ids.length = 0;
    this.count = 0;
    return {
      index: this.index.slice(0, n),
      tsNs: this.tsNs.slice(0, n),
      symbol: this.symbol.slice(0, n),
      ids,
      venue: this.venue.slice(0, n),
      conditions: this.conditions.slice(0, n),
    };
  }
}

/**
 * The same string in memory of its own: a slice of a body keeps the whole body for as long as its batch waits, and
 * that is not counted anywhere.
 */
function detached(text: string): string {
  return ` ${text}`.slice(1);
}

/** Collects rows into columns. Invariant: between `take` calls it holds at most `maxTicks` rows. */
export class ColumnsBuilder {
  readonly #trades: TypeBuilder;
  readonly #quotes: TypeBuilder;
  readonly #places = new Map<string, number>();
  #dictionary: string[] = [];
  #lastSeconds = 0;
  #lastLow = 0;
  #lastHigh = 0;

  constructor(maxTicks: number) {
    this.#trades = new TypeBuilder(maxTicks, 2);
    this.#quotes = new TypeBuilder(maxTicks, 4);
  }

  add(row: TickRow, index: number): void {
    const into = row.isQuote ? this.#quotes : this.#trades;
    const at = into.count;
    into.count = at + 1;
    into.index[at] = index;
    this.#addTs(into, at, row);
    into.symbol[at] = this.#place(row.symbol);
    into.ids.push(row.id);
    into.venue[at] = row.venue === null ? 0 : this.#place(row.venue) + 1;
    into.conditions[at] = row.conditions === null ? 0 : this.#place(row.conditions) + 1;
    const { numbers } = into;
    if (row.isQuote) {
      numbers[0]![at] = row.bidPrice;
      numbers[1]![at] = row.bidSize;
      numbers[2]![at] = row.askPrice;
      numbers[3]![at] = row.askSize;
    } else {
      into.side[at] = row.side;
      numbers[0]![at] = row.price;
      numbers[1]![at] = row.size;
    }
  }

  /** What was added since the last call; the builder is empty afterwards. */
  take(): BatchColumns {
    const dictionary = this.#dictionary;
    this.#dictionary = [];
    this.#places.clear();
    return { dictionary, trades: this.#takeTrades(), quotes: this.#takeQuotes() };
  }

  #takeTrades(): TradeColumns | null {
    const from = this.#trades;
    const n = from.count;
    if (n === 0) return null;
    return {
      ...from.takeCommon(),
      price: from.numbers[0]!.slice(0, n),
      size: from.numbers[1]!.slice(0, n),
      side: from.side.slice(0, n),
    };
  }

  #takeQuotes(): QuoteColumns | null {
    const from = this.#quotes;
    const n = from.count;
    if (n === 0) return null;
    return {
      ...from.takeCommon(),
      bidPrice: from.numbers[0]!.slice(0, n),
      bidSize: from.numbers[1]!.slice(0, n),
      askPrice: from.numbers[2]!.slice(0, n),
      askSize: from.numbers[3]!.slice(0, n),
    };
  }

  /**
   * Seconds and nanoseconds as one number of 64 bits, in halves: two big integers a tick are 0.06 ms for 1,000 of them. Ticks
   * of one second come together, so that the product is rare.
   */
  #addTs(into: TypeBuilder, at: number, { seconds, nanos }: TickRow): void {
    if (seconds !== this.#lastSeconds) {
      this.#lastSeconds = seconds;
      const ns = BigInt(seconds) * 1_000_000_000n;
      this.#lastLow = Number(ns & 0xffffffffn);
      this.#lastHigh = Number(ns >> 32n);
    }
    const low = this.#lastLow + nanos;
    into.tsHalves[at * 2] = low;
    into.tsHalves[at * 2 + 1] = low > 0xffffffff ? this.#lastHigh + 1 : this.#lastHigh;
  }

  #place(text: string): number {
    let place = this.#places.get(text);
    if (place === undefined) {
      place = this.#dictionary.length;
      this.#dictionary.push(detached(text));
      this.#places.set(text, place);
    }
    return place;
  }
}
