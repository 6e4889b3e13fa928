"""What the synthetic databases are about: nouns, links between them, attributes.

Pure data. One entity reads ``"noun/synonym: attribute attribute -> parent parent"``; a parent is
named by its first noun. A `DOMAINS` entry lists its entities with parents first, so that any
connected part of it is a database. Written for this package.
"""

from __future__ import annotations

from collections.abc import Mapping

TRAIN_DOMAINS: Mapping[str, tuple[str, ...]] = {
    "clinic": (
        "ward/unit: title capacity floor color",
        "doctor/physician/surgeon: person specialty salary city -> ward",
        "patient: person age city insurance",
        "visit/appointment/checkup: fee year duration state -> doctor patient",
    ),
    "school": (
        "campus/school: title city founded",
        "teacher/tutor: person age salary subject -> campus",
        "lesson/course: title level credits term -> teacher",
        "pupil/student: person age grade city -> campus",
        "exam/quiz: score year state -> pupil lesson",
    ),
    "shop": (
        "supplier/vendor: title country rating state",
        "product/item/article: title price color stock -> supplier",
        "customer/client/buyer: person city age tier",
        "purchase/sale: quantity total year payment -> product customer",
    ),
    "library": (
        "writer/author: person country age genre",
        "book/novel: title pages year language -> writer",
        "reader/member: person city age tier",
        "loan/checkout: days year state -> book reader",
    ),
    "airline": (
        "airport/airfield: title city country capacity",
        "plane/aircraft: title seats built make -> airport",
        "pilot/captain: person age salary license -> airport",
        "flight: distance duration state year -> plane pilot",
    ),
    "bank": (
        "branch/office: title city founded region",
        "banker/advisor: person age salary level -> branch",
        "account: title balance currency opened -> banker",
        "transfer/deposit: amount year payment state -> account",
    ),
    "hotel": (
        "hotel/inn: title city stars rooms",
        "room/suite: title price beds view -> hotel",
        "guest/visitor: person country age tier",
        "booking/stay: nights total year state -> room guest",
    ),
    "soccer": (
        "stadium/arena: title city capacity built",
        "team/club: title founded color region -> stadium",
        "player/striker: person age height position country -> team",
        "goal/penalty: minute year state -> player",
    ),
    "music": (
        "label/studio: title city founded country",
        "band/singer: title genre members year -> label",
        "album/record: title year sales format -> band",
        "song/track: title duration rating mood -> album",
    ),
    "film": (
        "studio/company: title city founded budget",
        "director/producer: person age country awards",
        "movie/film: title year genre budget -> director studio",
        "screening/premiere: tickets price state year -> movie",
    ),
    "farm": (
        "farm/ranch: title region area founded",
        "field/meadow: title area soil altitude -> farm",
        "farmer/grower: person age salary tier -> farm",
        "crop/harvest: weight year quality season -> field farmer",
    ),
    "company": (
        "department/division: title budget floor city",
        "employee/worker: person age salary position -> department",
        "project/program: title budget year priority -> department",
        "task/assignment: hours cost state year -> project employee",
    ),
    "restaurant": (
        "restaurant/diner: title city stars cuisine",
        "cook/chef: person age salary specialty_dish -> restaurant",
        "dish/meal: title price calories taste -> cook",
        "review/opinion: score year state mood -> dish",
    ),
    "museum": (
        "museum/gallery: title city founded region",
        "painter/sculptor: person country age style",
        "painting/portrait: title year price material -> painter museum",
        "tour/visit: visitors price language year -> museum",
    ),
    "garage": (
        "garage/workshop: title city capacity rating",
        "mechanic/technician: person age salary level -> garage",
        "car/vehicle: title make color price year",
        "repair/service: cost hours state year -> car mechanic",
    ),
    "gym": (
        "gym/center: title city capacity founded",
        "coach/trainer: person age salary sport -> gym",
        "athlete/runner: person age weight height country",
        "session/workout: duration calories intensity state -> coach athlete",
    ),
    "news": (
        "newspaper/magazine: title city founded language",
        "reporter/editor: person age salary section -> newspaper",
        "story/report: title words year state -> reporter",
        "comment/reply: likes year mood length -> story",
    ),
    "theater": (
        "theater/stage: title city seats built",
        "actor/actress: person age awards country",
        "drama/musical: title year genre budget -> theater",
        "role/part: title hours salary importance -> actor drama",
    ),
    "railway": (
        "station/stop: title city platforms built",
        "train/express: title speed seats category -> station",
        "driver/conductor: person age salary license -> station",
        "trip/ride: distance passengers state season -> train driver",
    ),
    "software": (
        "platform/system: title year language users",
        "developer/engineer: person age salary level city",
        "module/package: title size version state -> platform developer",
        "bug/defect: severity priority year hours -> module",
    ),
    "court": (
        "court/tribunal: title city rooms region",
        "judge/magistrate: person age salary tier -> court",
        "lawyer/attorney: person age fee specialty city",
        "trial/hearing: days year outcome witnesses -> judge lawyer",
    ),
    "zoo": (
        "zoo/park: title city area founded",
        "keeper/guard: person age salary level -> zoo",
        "animal/beast: title weight age diet continent -> keeper",
        "feeding/snack: quantity cost season state -> animal",
    ),
    "shipping": (
        "port/harbor: title city country depth",
        "ship/vessel: title length built purpose -> port",
        "sailor/mate: person age salary rank -> ship",
        "shipment/cargo: weight price state year -> ship",
    ),
    "insurance": (
        "agency/bureau: title city rating region",
        "agent/broker: person age salary level -> agency",
        "holder/owner: person age city job",
        "policy/contract: price year kind state -> agent holder",
    ),
    "university": (
        "faculty/college: title budget founded city",
        "professor/lecturer: person age salary rank -> faculty",
        "seminar/lecture: title credits hours term -> professor",
        "thesis/paper: title pages year outcome -> professor",
    ),
    "television": (
        "channel/network: title country founded viewers",
        "host/presenter: person age salary mood_style",
        "series/show: title genre year rating -> channel host",
        "episode: title duration viewers season -> series",
    ),
    "charity": (
        "charity/foundation: title city founded purpose_aid",
        "donor/sponsor: person age country tier",
        "donation/gift: amount year payment state -> donor charity",
        "volunteer/helper: person age hours job -> charity",
    ),
    "police": (
        "precinct/district: title city area population",
        "officer/detective: person age salary rank -> precinct",
        "suspect/thief: person age height hair",
        "arrest/incident: year hours severity state -> officer suspect",
    ),
    "brewery": (
        "brewery/pub: title city founded capacity",
        "beer/ale: title strength price taste -> brewery",
        "taster/critic: person age country level",
        "tasting/sampling: score year mood state -> beer taster",
    ),
    "electronics": (
        "brand/maker: title country founded revenue",
        "phone/laptop: title price weight color -> brand",
        "seller/dealer: person city age rating",
        "offer/deal: price quantity state season -> phone seller",
    ),
    "travel": (
        "country_guide/region_guide: title continent pages price",
        "beach/island: title length region rating",
        "hiker/tourist: person age country job",
        "journey/holiday: days cost season year -> hiker beach",
    ),
    "city_hall": (
        "council/board: title city members budget",
        "mayor/senator: person age salary party -> council",
        "bridge/road: title length built material -> council",
        "meeting/debate: hours year outcome votes -> mayor",
    ),
}

VALIDATION_DOMAINS: Mapping[str, tuple[str, ...]] = {
    "bakery": (
        "bakery/shop: title city founded rating",
        "baker/assistant: person age salary level -> bakery",
        "cake/bread: title price weight taste -> baker",
        "order/delivery: quantity total state year -> cake",
    ),
    "postal": (
        "depot/post_office: title city capacity region",
        "courier/carrier: person age salary license -> depot",
        "recipient/sender: person city age tier",
        "parcel/letter: weight price state year -> courier recipient",
    ),
    "racing": (
        "circuit/speedway: title country length built",
        "racer/rider: person age country rank",
        "bike/kart: title make speed color",
        "race/lap: minute year outcome -> racer circuit",
    ),
    "games": (
        "publisher/distributor: title city founded revenue",
        "designer/artist: person age salary style -> publisher",
        "game/puzzle: title price year genre -> designer",
        "rating/vote: score year mood -> game",
    ),
    "garden": (
        "garden/nursery: title city area founded",
        "gardener/botanist: person age salary level -> garden",
        "plant/flower: title height price color -> garden",
        "planting/watering: hours season state -> plant gardener",
    ),
}

TEST_DOMAINS: Mapping[str, tuple[str, ...]] = {
    "mine": (
        "mine/quarry: title region depth founded",
        "miner/digger: person age salary rank -> mine",
        "shaft/tunnel: title length depth material -> mine",
        "blast/dig: weight year state cost -> miner shaft",
    ),
    "orchestra": (
        "orchestra/choir: title city members founded",
        "musician/violinist: person age instrument country -> orchestra",
        "symphony/opera: title year duration mood",
        "rehearsal/recital: hours year state -> musician symphony",
    ),
    "aquarium": (
        "aquarium/pool: title city volume built",
        "diver/swimmer: person age salary license -> aquarium",
        "fish/shark: title weight age diet -> aquarium",
        "inspection/check: minute year outcome -> fish diver",
    ),
    "laboratory": (
        "laboratory/institute: title city budget founded",
        "scientist/chemist: person age salary field_study -> laboratory",
        "sample/specimen: title weight quality color",
        "experiment/trial_run: hours cost outcome year -> scientist sample",
    ),
    "election": (
        "county/province: title population area region",
        "candidate/runner_up: person age party job -> county",
        "ballot/poll: votes year kind state -> candidate",
        "rally/speech: visitors minute mood year -> candidate",
    ),
    "fishery": (
        "dock/pier: title city depth built",
        "boat/trawler: title length speed color -> dock",
        "skipper/fisher: person age salary license -> boat",
        "catch/haul: weight price season quality -> skipper",
    ),
    "energy": (
        "power_plant/grid: title region output built",
        "turbine/reactor: title output make year -> power_plant",
        "operator/electrician: person age salary level -> power_plant",
        "outage/fault: minute severity state year -> turbine",
    ),
    "housing": (
        "building/tower: title city floors built",
        "flat/apartment: title rent area view -> building",
        "tenant/renter: person age job country",
        "lease/rental: months total state year -> flat tenant",
    ),
    "beekeeping": (
        "orchard/apiary: title region area founded",
        "beekeeper/breeder: person age salary tier -> orchard",
        "hive/colony: title weight color quality -> beekeeper",
        "honey_jar/batch: weight price taste year -> hive",
    ),
    "embassy": (
        "embassy/consulate: title city country staff",
        "diplomat/envoy: person age salary rank -> embassy",
        "traveler/applicant: person age country job",
        "visa/permit: fee days kind state -> traveler diplomat",
    ),
    "dance": (
        "academy/ballroom: title city capacity founded",
        "dancer/performer: person age height style -> academy",
        "contest/festival: title year prize season",
        "entry/performance: score minute outcome -> dancer contest",
    ),
    "space": (
        "observatory/space_port: title country altitude built",
        "astronomer/astronaut: person age salary field_study -> observatory",
        "rocket/satellite: title weight speed purpose -> observatory",
        "mission/launch: days cost outcome year -> rocket astronomer",
    ),
}

DOMAINS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "train": TRAIN_DOMAINS,
    "validation": VALIDATION_DOMAINS,
    "test": TEST_DOMAINS,
}
"""The domains of each split; no noun of a test table is a table's noun in training."""

MODIFIERS = (
    "city day family gold green home lake local main north public river royal small south star "
    "summer team town west winter young"
).split()
"""Placed before a noun now and then (``river_hotels``), so that names are copied, not recalled."""

NUMBER_PREFIXES = "base extra first last net target unit".split()
PREFIXED = frozenset("budget cost fee price rent revenue salary speed total weight".split())
"""A prefix is placed before the name of such a number now and then (``net_price``)."""
