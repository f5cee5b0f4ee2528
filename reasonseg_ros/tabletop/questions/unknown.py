"""Things that no tabletop scene holds, to ask for: right answers say that nothing fits, or are unsure.

`TEST` was written first and is used for reported figures only; `DEVELOPMENT` is for calibration and training.
"""

from __future__ import annotations

TEST = (
    # names
    "a submarine", "the fire extinguisher", "my passport", "an elephant", "the traffic light", "a grand piano",
    "the vacuum cleaner", "a pair of skis", "my car keys", "the microscope", "a parrot", "an umbrella",
    "the lawn mower", "a wedding ring", "the steering wheel", "a hot air balloon", "some shoelaces",
    "the chess pieces", "a crocodile", "the smoke detector", "a baby stroller", "my sunglasses", "the printer",
    "an anchor", "a violin", "the toothbrush",
    # descriptions without the name
    "something to measure the temperature", "a device to take photographs", "an animal that barks",
    "something that flies by itself", "what can i ride to work?", "a machine that washes clothes",
    "something to play music on", "what keeps the rain off my head?", "a place to sleep for the night",
    "whatever shows me the time", "something to call my mother with", "what would a dentist use?",
    "the thing that brings me to another floor", "something soft to sit on", "what makes the room warm in winter?",
    "an instrument with strings", "something to weigh luggage", "what do i put on my feet?",
    "the creature that lives in water", "something that a surgeon wears",
    # Korean and Chinese
    "잠수함", "내 여권을 찾아줘", "소화기는 어디에 있어?", "비행기", "우산을 집어줘", "고양이를 가리켜줘", "피아노",
    "潜水艇", "我的护照在哪里", "灭火器", "请指出大象", "拿雨伞给我", "一辆自行车", "钢琴",
)  # fmt: skip

DEVELOPMENT = (
    # names
    "a helicopter", "the coffee machine", "my wallet", "a giraffe", "the street lamp", "a drum set",
    "the washing machine", "a surfboard", "my house keys", "the telescope", "a penguin", "a raincoat", "the chainsaw",
    "a gold necklace", "the bicycle pump", "a sailing boat", "some earrings", "a deck of cards", "a kangaroo",
    "the alarm clock", "a wheelchair", "my slippers", "the keyboard", "a compass", "a trumpet", "the shampoo",
    "a tractor", "the ladder", "a light bulb", "the wardrobe", "a squirrel", "the radiator", "a snowman",
    "an airplane ticket", "the remote control", "a candle", "the mirror", "a tent", "the camera", "a hair dryer",
    "the bathtub", "a football", "the calculator", "a sewing machine", "the parachute", "a rocket",
    "the newspaper stand", "a bus", "a fishing rod", "the door handle",
    # descriptions without the name
    "something to find north with", "a vehicle for the snow", "an animal with a trunk", "something that rings",
    "what can i travel to the moon with?", "a machine that dries hair", "something to blow into for a tune",
    "what protects my head on a motorbike?", "a room to take a shower in", "whatever tells me the weather",
    "something to send an email from", "what would a firefighter carry?", "the thing that opens the garage",
    "something woolly against the cold", "what cools the air in summer?", "an instrument with keys",
    "something to inflate a tyre", "what do i wear around my neck?", "the insect that makes honey",
    "something that a pilot sits in", "a toy that floats", "a plant with thorns", "something to climb over a wall",
    "what do children swing on?", "a document to cross the border", "something to charge my phone",
    # Korean and Chinese
    "기차", "내 지갑은 어디 있어?", "자전거를 보여줘", "코끼리", "시계를 집어줘", "강아지", "카메라를 찾아줘",
    "헬리콥터", "直升机", "我的钱包在哪儿", "照相机", "请拿闹钟给我", "一只猫", "火车", "指出那辆汽车", "蜡烛",
)  # fmt: skip
