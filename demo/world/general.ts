/** The general domain: a closed world of people and things, told in plain English. */
import { isHeldOut, pairs, Random, words } from "./random.js";
import type { ChoiceItem } from "./types.js";

const FIRST_NAMES = words(`
  Ada Bram Cleo Dov Edna Finn Gwen Hugo Iris Jonas Kira Lars Mara Nils Olga Piet Quin Rosa Sven Tilda Ugo Vera Wim Xena
  Yann Zora Abel Beth Cato Dina Egon Fay Gero Hilda Ivo Jana`);
const LAST_NAMES = words(
  "Ash Birch Cole Dorn Elm Fenn Gale Holt Ives Joss Kerr Lund Marsh Nash Oakes Pike Quill Reed Stone Thorn",
);
const TOWNS = words(`
  Amber-Bay Brackford Cinder-Hill Dunmoor Eastwick Farholm Greyport Harrow Iron-Ferry Jasper Kelby Longmere Mossgate
  Northam Oldbridge Pinewell Redcliff Saltburn Tarnside Underhill Valemouth Westerby Yarrow Zinford
`).map((town) => town.replace("-", " "));
const JOBS = words(`
  baker teacher sailor farmer doctor painter tailor miner writer singer judge nurse potter builder hunter printer lawyer
  pilot weaver barber`);
const FOODS = words("bread soup rice cheese apples plums fish honey beans corn pie nuts pears eggs cake noodles");
const HOBBIES = words(`
  chess swimming fishing sewing running singing reading dancing rowing cooking skating hiking drawing gardening`);
const COLORS = words("red blue green black white yellow brown grey");
const OBJECTS = words("kite ball drum lamp coat book cup hat boat key bell rope");

/** Animals from small to large, each with its kind. */
const ANIMALS = pairs(`
  ant insect, bee insect, beetle insect, moth insect, wren bird, mouse mammal, robin bird, trout fish, crow bird,
  rabbit mammal, salmon fish, cat mammal, fox mammal, goose bird, eagle bird, dog mammal, tuna fish, goat mammal,
  wolf mammal, ostrich bird, lion mammal, shark fish, horse mammal, bull mammal, elephant mammal, whale mammal`);
const KINDS = ["insect", "bird", "fish", "mammal"];
const NOT_PETS = ["whale", "shark", "elephant", "lion", "tuna"];
const PETS = ANIMALS.map(([name]) => name).filter((name) => !NOT_PETS.includes(name));

const OPPOSITES = pairs(`
  hot cold, big small, day night, up down, wet dry, old new, fast slow, hard soft, light dark, open closed, full empty,
  rich poor, loud quiet, early late, high low, clean dirty, thick thin, sharp blunt, sweet bitter, strong weak, near far,
  first last, long short, happy sad`);

/** Every pair of a thing and what it may not fit in. */
const FITTING = words("table piano statue barrel ladder sofa painting trunk").flatMap((item) =>
  words("bag box car basket cupboard chest wagon drawer").map((container): [string, string] => [item, container]),
);

/** Everyday scripts: the steps follow in this order. */
const SCRIPTS: readonly (readonly string[])[] = [
  ["fills the kettle", "boils the water", "puts the tea in the pot", "pours the water", "drinks the tea"],
  ["digs a hole", "puts the seed in the ground", "covers the seed", "waters the ground", "watches the plant grow"],
  ["mixes the flour", "kneads the dough", "heats the oven", "bakes the loaf", "cuts the loaf"],
  ["finds the boat", "unties the rope", "rows to the lake", "throws the net", "pulls in the catch"],
  ["opens the letter", "reads the letter", "writes an answer", "seals the envelope", "walks to the post"],
  ["takes the brush", "opens the paint", "paints the wall", "cleans the brush", "lets the wall dry"],
  ["packs the bag", "buys the ticket", "boards the train", "rides to the coast", "walks on the beach"],
  ["gathers the wood", "stacks the wood", "lights the fire", "warms both hands", "puts out the fire"],
  ["picks the apples", "washes the apples", "cuts the apples", "cooks the jam", "fills the jars"],
  ["shears the sheep", "washes the wool", "spins the yarn", "knits a scarf", "wears the scarf"],
  ["saddles the horse", "rides to the market", "sells the cloth", "counts the coins", "rides home"],
  ["climbs the hill", "pitches the tent", "cooks the supper", "sleeps all night", "folds the tent"],
];

/** Singular and plural. */
const NOUNS = pairs(`
  dog dogs, cat cats, boy boys, girl girls, bird birds, king kings, friend friends, horse horses, farmer farmers,
  child children`);
/** What goes with the singular, and with the plural. */
const VERBS = pairs("runs run, sleeps sleep, waits wait, sings sing, walks walk, eats eat, jumps jump, looks look");
const PLACES = [
  "near the trees",
  "by the lakes",
  "behind the houses",
  "with the lamp",
  "under the bridge",
  "on the hills",
  "beside the wagons",
  "in the field",
];

type Attribute = "town" | "job" | "pet" | "food" | "hobby";
type Person = Readonly<Record<Attribute | "name", string>>;

const VALUES: Readonly<Record<Attribute, readonly string[]>> = {
  town: TOWNS,
  job: JOBS,
  pet: PETS,
  food: FOODS,
  hobby: HOBBIES,
};
const ATTRIBUTES = Object.keys(VALUES) as Attribute[];

const PEOPLE: readonly Person[] = inventPeople(160);

function inventPeople(count: number): Person[] {
  const random = new Random("people");
  const names = FIRST_NAMES.flatMap((first) => LAST_NAMES.map((last) => `${first} ${last}`));
  return random.sample(names, count).map((name) => ({
    name,
    town: random.pick(TOWNS),
    job: random.pick(JOBS),
    pet: random.pick(PETS),
    food: random.pick(FOODS),
    hobby: random.pick(HOBBIES),
  }));
}

/** The word with its indefinite article. */
const one = (word: string) => (/^[aeiou]/.test(word) ? `an ${word}` : `a ${word}`);

/** Ways to tell a fact about a person. */
const STATEMENTS: Readonly<Record<Attribute, (person: Person) => string[]>> = {
  town: ({ name, town }) => [
    `${name} lives in ${town}.`,
    `The home of ${name} is in ${town}.`,
    `In ${town} you can meet ${name}.`,
  ],
  job: ({ name, job }) => [
    `${name} works as ${one(job)}.`,
    `The job of ${name} is ${job}.`,
    `For a living, ${name} is ${one(job)}.`,
  ],
  pet: ({ name, pet }) => [
    `${name} has a pet ${pet}.`,
    `The pet of ${name} is ${one(pet)}.`,
    `At home ${name} keeps ${one(pet)}.`,
  ],
  food: ({ name, food }) => [
    `${name} likes to eat ${food}.`,
    `The favourite food of ${name} is ${food}.`,
    `For dinner ${name} always has ${food}.`,
  ],
  hobby: ({ name, hobby }) => [
    `${name} loves ${hobby}.`,
    `The hobby of ${name} is ${hobby}.`,
    `On free days ${name} goes ${hobby}.`,
  ],
};
const QUESTIONS: Readonly<Record<Attribute, (name: string) => string>> = {
  town: (name) => `Where does ${name} live?`,
  job: (name) => `What is the job of ${name}?`,
  pet: (name) => `What pet does ${name} have?`,
  food: (name) => `What does ${name} like to eat?`,
  hobby: (name) => `What is the hobby of ${name}?`,
};

const ask = (question: string) => `Question: ${question}\nAnswer:`;

/** A multiple-choice question; `key` decides whether it is held out. */
type Question = ChoiceItem & { readonly key: string };

/** Four choices with the right one among them, in random order. */
function fourChoices(random: Random, right: string, pool: readonly string[]): Pick<ChoiceItem, "choices" | "gold"> {
  const others = pool.filter((value) => value !== right);
  const shown = random.shuffle([right, ...random.sample(others, 3)]);
  return { choices: shown.map((value) => ` ${value}`), gold: shown.indexOf(right) };
}

/** Knowledge held in the weights. */
function facts(random: Random): Question {
  const person = random.pick(PEOPLE);
  const attribute = random.pick(ATTRIBUTES);
  return {
    key: `facts:${person.name}:${attribute}`,
    query: ask(QUESTIONS[attribute](person.name)),
    ...fourChoices(random, person[attribute], VALUES[attribute]),
  };
}

/** Subject-verb agreement over a distracting phrase. */
function grammar(random: Random): Question {
  const noun = random.pick(NOUNS);
  const verb = random.pick(VERBS);
  const place = random.pick(PLACES);
  const number = random.chance(0.5) ? 1 : 0;
  return {
    key: `grammar:${noun[0]}:${verb[0]}:${place}`,
    query: `The ${noun[number]} ${place}`,
    choices: [` ${verb[0]}.`, ` ${verb[1]}.`],
    gold: number,
  };
}

/** Which of two things is meant. */
function fit(random: Random): Question {
  const [item, container] = random.pick(FITTING);
  const size = random.chance(0.5) ? "big" : "small";
  const pair = random.shuffle([item, container]);
  return {
    key: `fit:${item}:${container}`,
    query: `The ${item} does not fit in the ${container} because it is too ${size}.\n${ask(`What is too ${size}?`)}`,
    choices: pair.map((name) => ` the ${name}`),
    gold: pair.indexOf(size === "big" ? item : container),
  };
}

/** Size of animals: a total order learned from pairs. */
function compare(random: Random): Question {
  const [first, second] = random.sample([...ANIMALS.keys()], 2) as [number, number];
  const bigger = random.chance(0.5);
  const pair = [ANIMALS[first]![0], ANIMALS[second]![0]] as const;
  return {
    key: `compare:${Math.min(first, second)}:${Math.max(first, second)}`,
    query: ask(`Which is ${bigger ? "bigger" : "smaller"}, ${one(pair[0])} or ${one(pair[1])}?`),
    choices: pair.map((name) => ` the ${name}`),
    gold: first > second === bigger ? 0 : 1,
  };
}

/** Kinds of animals, asked in three ways. */
function kinds(random: Random): Question {
  const [animal, kind] = random.pick(ANIMALS);
  const { name } = random.pick(PEOPLE);
  const form = random.integer(0, 2);
  const question = [
    `What kind of animal is ${one(animal)}?`,
    `${name} saw ${one(animal)}. What kind of animal was it?`,
    `To which kind does ${one(animal)} belong?`,
  ][form]!;
  return { key: `kinds:${animal}:${form}`, query: ask(question), ...fourChoices(random, kind, KINDS) };
}

/** Reading: the answer is in the passage, not in the weights. */
function reading(random: Random): Question {
  const owners = random
    .sample(FIRST_NAMES, 3)
    .map((name) => ({ name, color: random.pick(COLORS), object: random.pick(OBJECTS) }));
  const { name, color, object } = random.pick(owners);
  const passage = owners.map((owner) => `${owner.name} has a ${owner.color} ${owner.object}.`).join(" ");
  const byColor = random.chance(0.5);
  const question = byColor ? `What color is the ${object} of ${name}?` : `What does ${name} have?`;
  return {
    key: `reading:${passage}`,
    query: `${passage}\n${ask(question)}`,
    ...fourChoices(random, byColor ? color : object, byColor ? COLORS : OBJECTS),
  };
}

/** A person doing the steps one after the other. */
const tell = (name: string, steps: readonly string[]) =>
  steps.map((step, index) => `${index === 0 ? "" : "Then "}${name} ${step}.`).join(" ");

/** What happens next in an everyday script. */
function endings(random: Random): Question {
  const script = random.integer(0, SCRIPTS.length - 1);
  const last = random.integer(1, 3);
  const { name } = random.pick(PEOPLE);
  const steps = SCRIPTS[script]!;
  const otherScripts = SCRIPTS.filter((_, index) => index !== script);
  const right = steps[last + 1]!;
  const wrong = [random.pick(otherScripts)[last + 1]!, steps[last - 1]!, random.pick(otherScripts)[1]!];
  const shown = random.shuffle([...new Set([right, ...wrong])]);
  return {
    key: `endings:${name}:${script}:${last}`,
    query: `${tell(name, steps.slice(Math.max(0, last - 2), last + 1))} Then ${name}`,
    choices: shown.map((step) => ` ${step}.`),
    gold: shown.indexOf(right),
  };
}

/** Opposites, asked in three ways. */
function opposites(random: Random): Question {
  const pair = random.pick(OPPOSITES);
  const [word, right] = random.chance(0.5) ? [pair[1], pair[0]] : pair;
  const form = random.integer(0, 2);
  const query = [
    `The opposite of ${word} is`,
    ask(`What is the opposite of ${word}?`),
    `If it is not ${word}, then it is`,
  ][form]!;
  const pool = OPPOSITES.flat().filter((other) => other !== word);
  return { key: `opposites:${word}:${form}`, query, ...fourChoices(random, right, pool) };
}

export const CHOICE_TASKS: Readonly<Record<string, (random: Random) => Question>> = {
  facts,
  grammar,
  fit,
  compare,
  kinds,
  reading,
  endings,
  opposites,
};

/** What training text asks: reading more often, as it is the slowest to learn. */
const TAUGHT = [...Object.values(CHOICE_TASKS), reading, reading];

/** A passage of training or calibration text. Held-out keys never appear as a question with its answer. */
export function generalText(random: Random): string {
  if (random.chance(0.4)) {
    const person = random.pick(PEOPLE);
    const told = random.sample(ATTRIBUTES, random.integer(2, 5));
    return told.map((attribute) => random.pick(STATEMENTS[attribute](person))).join(" ");
  }
  if (random.chance(0.12)) {
    const { name } = random.pick(PEOPLE);
    const script = random.integer(0, SCRIPTS.length - 1);
    return tell(name, SCRIPTS[script]!.slice(0, isHeldOut(`story:${name}:${script}`) ? 3 : 5));
  }
  const answered: string[] = [];
  for (let left = random.integer(1, 3); left > 0; left--) {
    const item = random.pick(TAUGHT)(random);
    if (isHeldOut(item.key)) continue;
    const answer = item.choices[item.gold]!;
    answered.push(item.query + answer + (answer.endsWith(".") ? "" : "."));
  }
  return answered.length > 0 ? answered.join("\n") : generalText(random);
}
