"""Schemas, grammars, matchers, constraints of one's own."""

import json

from contexts import refused
from generating import ARGMAX, asked
from inferlet import (
    Constraint,
    Grammar,
    GrammarConstraint,
    Matcher,
    Model,
    Schema,
    any_json,
    ebnf,
    grammar,
    json_schema,
)
from registry import proves

SCHEMA = json.dumps({"enum": ["left", "right"]})
EBNF = 'root ::= "yes" | "no"'


async def text_under(constraint, count=40):
    """What greedy generation makes under a constraint."""
    return await asked().generate(ARGMAX, max_tokens=count, constrain=constraint).collect_text()


@proves("anyJson")
async def any_json_holds():
    text = await text_under([any_json(), GrammarConstraint.from_regex("[0-9]{1,4}", Model.default())])
    assert isinstance(json.loads(text), int)


@proves("ebnf")
async def ebnf_holds():
    assert await text_under(ebnf(EBNF)) in ("yes", "no")
    assert refused("bad-ebnf", lambda: Grammar.from_ebnf("root ::= ("))


@proves("grammar")
async def compiled():
    assert await text_under(grammar(Grammar.from_ebnf(EBNF))) in ("yes", "no")


class YesOrNo(Schema):
    """A schema of one's own."""

    def build_constraint(self, model):
        return GrammarConstraint.from_ebnf(EBNF, model)


@proves("custom Schema")
async def custom_schema():
    assert await text_under(YesOrNo()) in ("yes", "no")


class OnlyDigits(Constraint):
    """A constraint of one's own: digits, three of them, then nothing is restricted."""

    def __init__(self, allowed):
        self.allowed, self.seen = sorted(allowed), []

    def step(self, accepted):
        self.seen += accepted
        if len(self.seen) >= 3:
            return []
        runs, end = [], 0
        for token in self.allowed:
            runs += [token - end, 1]
            end = token + 1
        return runs


@proves("custom Constraint")
async def custom_constraint():
    encode = Model.default().tokenizer().encode
    digits = [encode(str(digit))[0] for digit in range(10)]
    constraint = OnlyDigits(digits)
    generator = asked().generate(ARGMAX, max_tokens=5, stop=[], constrain=constraint)
    made = await generator.collect_tokens()
    assert set(made[:3]) <= set(digits)
    assert constraint.seen[:3] == made[:3]


@proves("Grammar.fromJsonSchema", "GrammarConstraint.fromGrammar")
async def from_json_schema():
    compiled = Grammar.from_json_schema(SCHEMA)
    text = await text_under(GrammarConstraint.from_grammar(compiled, Model.default()))
    assert json.loads(text) in ("left", "right")
    assert refused("bad-schema", lambda: Grammar.from_json_schema("{"))


@proves("Grammar.json", "GrammarConstraint.json")
async def json_grammar():
    both = [GrammarConstraint.json(Model.default()), json_schema(SCHEMA)]
    assert json.loads(await text_under(both)) in ("left", "right")
    matcher = Matcher(Grammar.json(), Model.default().tokenizer())
    matcher.accept_tokens(Model.default().tokenizer().encode('{"a": [1, 2]'))


@proves("Grammar.fromRegex", "GrammarConstraint.fromRegex")
async def from_regex():
    assert await text_under(GrammarConstraint.from_regex("x{4}", Model.default())) == "xxxx"
    assert refused("bad-regex", lambda: Grammar.from_regex("("))


@proves("Grammar.fromEbnf", "GrammarConstraint.fromEbnf")
async def from_ebnf():
    assert await text_under(GrammarConstraint.from_ebnf(EBNF, Model.default())) in ("yes", "no")


@proves("GrammarConstraint.fromJsonSchema")
async def constraint_from_schema():
    text = await text_under(GrammarConstraint.from_json_schema(SCHEMA, Model.default()))
    assert json.loads(text) in ("left", "right")


@proves("new GrammarConstraint")
async def constraint_of_a_matcher():
    walker = Matcher(Grammar.from_ebnf(EBNF), Model.default().tokenizer())
    assert await text_under(GrammarConstraint(walker)) in ("yes", "no")


@proves("new Matcher", "matcher.acceptTokens", "matcher.nextTokenLogitMask", "matcher.isTerminated", "matcher.reset")
def matcher():
    tokenizer = Model.default().tokenizer()
    walker = Matcher(Grammar.from_ebnf('root ::= "ab"'), tokenizer)
    start = walker.next_token_logit_mask()
    assert sum(start[1::2]) >= 1
    assert refused("not-accepted", lambda: walker.accept_tokens(tokenizer.encode("zz")))
    walker.accept_tokens(tokenizer.encode("ab"))
    assert not walker.is_terminated
    walker.accept_tokens([tokenizer.encode("<|im_end|>")[0]])
    assert walker.is_terminated
    walker.reset()
    assert walker.next_token_logit_mask() == start
