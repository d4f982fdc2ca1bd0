// Handles of contexts and other things that are stale, dropped or of something else; pages; names.

import { Adapter, Context, Grammar, Matcher, mcp, Model, runtime, Sampler, scheduling, zo } from 'inferlet';

import { calls, fresh } from './calls.ts';

function released(): Context {
  const context = fresh();
  context.release();
  return context;
}

/** A context that was destroyed behind the SDK's back. */
function destroyed(): Context {
  const context = fresh();
  context.wit.destroy();
  return context;
}

/** Uses a fresh adapter wrongly. */
function onAdapter(use: (adapter: Adapter) => unknown): () => unknown {
  return () => {
    using adapter = Adapter.create(Model.default(), 'bad-calls-misused');
    try {
      return use(adapter);
    } finally {
      adapter.destroy();
    }
  };
}

const SEARCH = { rank: 2, alpha: 1, populationSize: 4, muFraction: 0.5, initialSigma: 0.1 };

calls({
  'fork of a released context': () => released().fork(),
  'flush of a released context': () => released().append([60]).flush(),
  'pass in a released context': () => released().forward().input([60]).execute(),
  'generation in a released context': () => released().generate(Sampler.argmax()),
  'save of a released context': () => released().save('x'),
  'snapshot of a released context': () => released().snapshot(),
  'suspension of a released context': () => released().suspend(),
  'bid for a released context': () => released().setBid(1),
  'rent of a released context': () => scheduling.rent(released()),
  'truncation of a released context': () => released().truncate(1),
  'second release': () => released().release(),
  'fork of a destroyed context': () => destroyed().fork(),
  'save of a destroyed context': () => destroyed().save('x'),
  'snapshot of a destroyed context': () => destroyed().snapshot(),
  'suspension of a destroyed context': () => destroyed().suspend(),
  'reservation for a destroyed context': () => destroyed().wit.reserveWorkingPages(1),
  'commit in a destroyed context': () => destroyed().wit.commitWorkingPages(0),
  'pages of a destroyed context': () => destroyed().wit.workingPageCount(),
  'release of pages of a destroyed context': () => destroyed().wit.releaseWorkingPages(3),
  'truncation of a destroyed context': () => destroyed().wit.truncateWorkingPageTokens(3),
  'bid for a destroyed context': () => destroyed().setBid(1),
  'destruction twice': () => destroyed().wit.destroy(),
  'unknown model': () => Model.load('no such model'),
  'unknown snapshot': () => Context.delete(Model.default(), 'no such snapshot'),
  'opening of an unknown snapshot': () => Context.open(Model.default(), 'no such snapshot'),
  'unknown program': () => runtime.launch('no-such-program'),
  'unknown MCP server': () => mcp.connect('no such server'),
  'too many pages': () => fresh().wit.reserveWorkingPages(2 ** 32 - 1),
  'commit of pages that are not full': () => fresh().wit.commitWorkingPages(1),
  'release of more pages than there are': () => fresh().wit.releaseWorkingPages(5),
  'truncation of more tokens than there are': () => fresh().wit.truncateWorkingPageTokens(5),
  'bid that is no number': () => fresh().setBid(NaN),
  'negative bid': () => fresh().setBid(-1),
  'endless bid': () => fresh().setBid(Infinity),
  'pass whose context is destroyed meanwhile': async () => {
    const context = fresh();
    const done = context.forward().input([60]).execute();
    await Promise.resolve(); // the pass is under way
    await Promise.resolve();
    context.release();
    await done;
  },
  'adapter that is dropped': () => {
    const adapter = Adapter.create(Model.default(), 'bad-calls-dropped');
    adapter.destroy();
    adapter[Symbol.dispose]();
    adapter.save('/scratch/x');
  },
  'adapter that is destroyed': async () => {
    using adapter = Adapter.create(Model.default(), 'bad-calls-destroyed');
    adapter.destroy();
    await fresh().forward().input([60]).adapter(adapter).execute();
  },
  'adapter without a name': () => Adapter.create(Model.default(), ''),
  'fork of an adapter without a name': onAdapter((adapter) => {
    using copy = adapter.fork('');
    copy.save('/scratch/none');
  }),
  'adapter whose name is taken': onAdapter(() => Adapter.create(Model.default(), 'bad-calls-misused')),
  'adapter file that is not there': onAdapter((adapter) => adapter.load('/scratch/none')),
  'adapter without weights to save': onAdapter((adapter) => adapter.save('/scratch/none')),
  'search of rank 0': onAdapter((adapter) => zo.initialize(adapter, { ...SEARCH, rank: 0 })),
  'search with an alpha that is no number': onAdapter((adapter) => zo.initialize(adapter, { ...SEARCH, alpha: NaN })),
  'search with a negative sigma': onAdapter((adapter) => zo.initialize(adapter, { ...SEARCH, initialSigma: -0.1 })),
  'search without population': onAdapter((adapter) => zo.initialize(adapter, { ...SEARCH, populationSize: 0 })),
  'search with a rank of text': onAdapter((adapter) => zo.initialize(adapter, { ...SEARCH, rank: 'two' as never })),
  'update before the search begins': onAdapter((adapter) => zo.update(adapter, [1], [1], 0.5)),
  'seed that is too large': onAdapter((adapter) => zo.update(adapter, [1], [2n ** 63n], 0.5)),
  'grammar that is dropped': () => {
    const grammar = Grammar.json();
    grammar[Symbol.dispose]();
    return new Matcher(grammar, Model.default().tokenizer());
  },
  'MCP session that is closed': () => {
    const session = mcp.connect('rows');
    session[Symbol.dispose]();
    return session.listTools();
  },
});
