"""General prompts of many kinds, none of them about anything that is remembered.

A router is calibrated with them. They are not the guards of training, which the adapters have
seen, and not the prompts that false activations are measured with.
"""

_PROMPTS = """
    What is the boiling point of water? / Write a haiku about autumn. / How are you feeling today? /
    Translate 'thank you' into French. / What is 17 times 23? / Who painted the Mona Lisa? / Give me
    a recipe for pancakes. / Explain photosynthesis in one sentence. / Write a Python function that
    reverses a string. / What should I pack for a week at the beach? / Tell me a joke. / What is the
    largest planet? / How do I tie a tie? / Summarise the plot of Romeo and Juliet. / What is the
    past tense of 'go'? / Recommend a good book. / How far away is the moon? / What is the meaning
    of life? / Sort these numbers: 4, 1, 3. / How can I sleep better? / When did the Second World
    War end? / What is a prime number? / Name a musical instrument with strings. / How do aeroplanes
    fly? / What is the currency of Japan? / Give me three synonyms for 'happy'. / What is machine
    learning? / How do I remove a coffee stain? / Which language is spoken in Brazil? / Write a
    birthday greeting. / What causes rain? / Is it better to run in the morning or in the evening? /
    What is the phone number of the fire brigade? / Who is the president of Germany? / What is the
    address of the Eiffel Tower? / What is the name of the longest bridge? / When does the British
    Museum close? / What is the birthday of Isaac Newton? / Which floor of a house is the attic? /
    What is the area code of Chicago? / What is a good hobby? / How does a refrigerator stay cold? /
    What does the word 'method' mean? / Which model of car is the safest? / Give an example of a
    paradox. / What is the main idea of evolution? / Why is statistics useful? / Explain how an
    experiment is designed. / Compare coffee and tea. / What is the difference between weather and
    climate? / Calculate the perimeter of a square with side 5. / Debug this: print('hello' / What
    does CSS stand for? / How do I create a folder in Linux? / Hey, are you there? / Thank you so
    much! / I can't decide what to eat. / Convert 5 miles to kilometres. / Write a short story about
    a dragon. / What is the plural of 'child'? / Describe a sunset. / How do I learn the guitar? /
    What is a comet? / Who invented the telephone?
"""

UNRELATED_PROMPTS = tuple(" ".join(_PROMPTS.split()).split(" / "))
