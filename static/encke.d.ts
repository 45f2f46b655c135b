// Types of encke.js. What everything means: docs/client.md

/** How a subscription travels. The code of the last two is fetched when it is needed. */
export type Transport = "websocket" | "events" | "poll" | "ndjson" | "iframe";

/** Microseconds since the Unix epoch. Increases over all channels of a server, so one of them is a position in all. */
export type Id = number;

export interface Message {
  /** Absent for ticks, such as those of `$clock`: they are not kept, and not repeated. */
  id?: Id;
  channel: string;
  /** The type that the publisher gave it, if any. */
  event?: string;
  data: string;
}

/** Messages that are gone before this page could have them: those after `from` and before `to`. */
export interface Gap {
  from: Id;
  to: Id;
}

/** `offline`: the browser says that there is no network. Nothing is tried until it says that there is. */
export type State = "connecting" | "connected" | "waiting" | "offline";

export interface Info {
  transport: Transport;
  /** This page has everything up to here. */
  cursor?: Id;
  /** Whether this tab holds the connection, and not another one for it. */
  leading?: boolean;
  /** While waiting: milliseconds until the next try. */
  retryIn?: number;
  /** While waiting or offline: why the connection ended. */
  error?: unknown;
}

export interface Options {
  /** Begin behind this message. Wins over `last`. */
  since?: Id;
  /** Begin with the newest so many messages. Without either, only what is new is heard. */
  last?: number;
  /** What to try, best first. Default: websocket, events, poll. */
  transports?: Transport[];
  /** Where channels are. Begins with a slash or a scheme; ends with a slash. Default: `/channels/`. */
  url?: string;
  /** Whether tabs that ask for the same share one connection. Default: true. */
  share?: boolean;
  onmessage?(message: Message): void;
  ongap?(gap: Gap): void;
  onstate?(state: State, info: Info): void;
}

export interface Feed {
  /** This page has everything up to here. Handed to the next subscription as `since`, nothing is lost between the two. */
  readonly cursor?: Id;
  /**
   * Resolves when the message is in the log. Rejects with a `TypeError` when the server is out of reach, and with an
   * `Error` whose `cause` is the HTTP status when it refuses.
   */
  publish(
    channel: string,
    text: string,
    options?: { event?: string },
  ): Promise<{ id: Id; channels: string[]; subscribers: number }>;
  /** Ends it. No callback is called from here on. */
  close(): void;
}

export function subscribe(channels: string | string[], options?: Options): Feed;

/** What a transport is given besides its URL. */
export interface Ears extends AbortController {
  /** Takes what came: a message, a gap, or how far the log has been read. */
  hear(news: Message | { gap: Gap } | { since: Id }): void;
  /** Any sign of life. The first one means: connected. */
  alive(): void;
  /** Ends the connection. The same as throwing. */
  fail(reason: unknown): void;
}

/** The transports by name. To add one is to assign it; it runs until it fails. */
export const wires: Record<string, (ask: (as: string) => string, on: Ears) => Promise<void>>;
