export interface ServerEvent {
  id?: string;
  name: string;
  data: string;
}

/** Bytes of one event at most. */
const maxEvent = 32 * 1024 * 1024;

/** The events of a `text/event-stream` body (HTML, section 9.2.6), to its end. */
export async function* readEvents(response: Response): AsyncIterable<ServerEvent> {
  if (response.body === null) return;
  let rest = '';
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    rest += text;
    if (rest.length > maxEvent) throw new Error(`an event has more than ${maxEvent} bytes`);
    const parts = rest.split(/\r?\n\r?\n/);
    rest = parts.pop() ?? '';
    for (const part of parts) {
      const event = parseEvent(part);
      if (event !== undefined) yield event;
    }
  }
}

function parseEvent(text: string): ServerEvent | undefined {
  let id: string | undefined;
  let name = 'message';
  const data: string[] = [];
  for (const line of text.split(/\r?\n/)) {
    const [, field, value = ''] = /^(\w+): ?(.*)$/s.exec(line) ?? [];
    if (field === 'id') id = value;
    else if (field === 'event') name = value;
    else if (field === 'data') data.push(value);
  }
  if (data.length === 0) return undefined;
  return { name, data: data.join('\n'), ...(id === undefined ? {} : { id }) };
}
