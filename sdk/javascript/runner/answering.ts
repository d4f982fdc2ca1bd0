/** A built program that answers HTTP requests; its component imports what that takes. */

import type { IncomingRequest, ResponseOutparam } from 'wasi:http/types@0.2.4';

import { BUILT } from './built.ts';
import { answer } from './launching.ts';
import { Exchange } from './serving.ts';

export { run } from './built.ts';

/** The export `wasi:http/incoming-handler`. */
export const incomingHandler = {
  handle: async (incoming: IncomingRequest, outparam: ResponseOutparam): Promise<void> => {
    using exchange = new Exchange(incoming, outparam);
    await answer(BUILT, exchange);
  },
};
