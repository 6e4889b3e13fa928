"""What the columns of the synthetic databases hold. Pure data, written for this package.

`NUMBERS` gives the column's names and its range; `WORDS` gives the names and the values. Names
are alternatives, of which each database takes one.
"""

from __future__ import annotations

from collections.abc import Mapping

NUMBERS: Mapping[str, tuple[str, int, int]] = {
    "age": ("age", 18, 80),
    "altitude": ("altitude/elevation", 10, 900),
    "amount": ("amount/sum_paid", 5, 500),
    "area": ("area/surface", 10, 400),
    "awards": ("awards/prizes", 0, 20),
    "balance": ("balance/funds", 10, 900),
    "beds": ("beds", 1, 9),
    "budget": ("budget/funding", 20, 900),
    "built": ("built/built_year", 1900, 2020),
    "calories": ("calories", 50, 900),
    "capacity": ("capacity/max_people", 20, 900),
    "cost": ("cost/charge", 5, 300),
    "credits": ("credits/points", 1, 20),
    "days": ("days/day_count", 1, 60),
    "depth": ("depth", 5, 300),
    "distance": ("distance/kilometers", 20, 900),
    "duration": ("duration/minutes", 5, 240),
    "fee": ("fee/rate", 10, 300),
    "floor": ("floor/storey", 1, 20),
    "floors": ("floors/levels", 2, 60),
    "founded": ("founded/start_year", 1850, 2015),
    "grade": ("grade/grade_point", 1, 12),
    "height": ("height/height_cm", 140, 210),
    "hours": ("hours/work_hours", 1, 60),
    "length": ("length", 5, 400),
    "likes": ("likes/upvotes", 0, 300),
    "members": ("members/member_count", 2, 90),
    "minute": ("minute/at_minute", 1, 90),
    "months": ("months/term_months", 1, 36),
    "nights": ("nights/night_count", 1, 21),
    "opened": ("opened/opened_year", 1980, 2024),
    "output": ("output/megawatts", 5, 400),
    "pages": ("pages/page_count", 20, 900),
    "passengers": ("passengers/riders", 5, 400),
    "platforms": ("platforms", 1, 24),
    "population": ("population/people", 50, 990),
    "price": ("price/list_price", 1, 200),
    "prize": ("prize/prize_money", 10, 500),
    "quantity": ("quantity/units", 1, 50),
    "rating": ("rating/stars_given", 1, 40),
    "rent": ("rent/monthly_rent", 100, 990),
    "revenue": ("revenue/income", 10, 900),
    "rooms": ("rooms/room_count", 3, 300),
    "salary": ("salary/wage/pay", 20, 200),
    "sales": ("sales/copies_sold", 10, 900),
    "score": ("score/mark", 1, 100),
    "seats": ("seats/seat_count", 10, 400),
    "severity": ("severity/impact", 1, 30),
    "size": ("size/size_kb", 1, 400),
    "speed": ("speed/max_speed", 20, 300),
    "staff": ("staff/staff_count", 5, 200),
    "stars": ("stars/star_count", 1, 30),
    "stock": ("stock/in_store", 0, 300),
    "strength": ("strength/alcohol", 2, 40),
    "tickets": ("tickets/tickets_sold", 10, 600),
    "total": ("bill/bill_sum", 10, 900),
    "users": ("users/user_count", 10, 900),
    "viewers": ("viewers/audience", 10, 900),
    "visitors": ("visitors/visitor_count", 5, 600),
    "volume": ("volume/liters", 20, 900),
    "votes": ("votes/vote_count", 1, 500),
    "weight": ("weight/weight_kg", 1, 150),
    "witnesses": ("witnesses/witness_count", 0, 20),
    "words": ("words/word_count", 50, 900),
    "year": ("year/calendar_year", 1990, 2024),
}

WORDS: Mapping[str, tuple[str, str]] = {
    "category": ("category/class", "local, regional, express, night, freight"),
    "city": (
        "city/town/location",
        "Berlin, Paris, Madrid, Rome, Oslo, Vienna, Dublin, Prague, Lisbon, Athens, Warsaw, "
        "London, Boston, Chicago, Denver, Dallas, Tokyo, Delhi, Cairo, Lima",
    ),
    "color": ("color/paint", "red, blue, green, white, black, yellow, brown, silver"),
    "continent": ("continent", "Africa, Asia, Europe, North America, South America, Oceania"),
    "country": (
        "country/nation/origin",
        "Germany, France, Spain, Italy, Norway, Austria, Ireland, Poland, Greece, Portugal, "
        "Canada, Mexico, Brazil, Japan, India, Egypt, Peru, Kenya",
    ),
    "cuisine": ("cuisine/kitchen", "thai, greek, french, mexican, indian, korean"),
    "currency": ("currency", "euro, dollar, pound, yen, peso, franc"),
    "diet": ("diet/food", "meat, plants, insects, mixed, small fish"),
    "field_study": ("field/domain", "physics, genetics, geology, optics, ecology, medicine"),
    "format": ("format", "vinyl, tape, disc, stream"),
    "genre": ("genre/story_kind", "drama, comedy, horror, fantasy, crime, romance, history"),
    "hair": ("hair/hair_color", "blond, dark, grey, red, bald"),
    "importance": ("importance", "lead, support, minor, extra"),
    "instrument": ("instrument", "violin, cello, flute, harp, drums, piano, horn"),
    "insurance": ("insurance/cover", "private, public, student, family, no cover"),
    "intensity": ("intensity/effort", "low, medium, high, very high"),
    "job": ("job/occupation", "nurse, teacher, baker, lawyer, farmer, student, engineer"),
    "kind": ("kind/type", "short term, long term, single, family, special"),
    "language": ("language", "english, german, french, spanish, italian, polish"),
    "level": ("level/stage", "beginner, junior, middle, senior, expert"),
    "license": ("license/permit_class", "basic, advanced, full, on trial, expired"),
    "make": ("make/manufacturer", "Falken, Norda, Atlas, Vector, Orion, Delta"),
    "material": ("material", "oil, wood, stone, steel, glass, concrete, bronze"),
    "mood": ("mood/tone", "happy, calm, sad, angry, neutral"),
    "mood_style": ("manner/style", "funny, serious, warm, dry, loud"),
    "outcome": ("outcome/result", "passed, failed, still open, cancelled, draw"),
    "party": ("party", "green party, labor party, liberal party, union party, no party"),
    "payment": ("payment/pay_method", "cash, credit card, bank transfer, check, gift card"),
    "position": ("position/post", "front, middle, back, left wing, right wing"),
    "priority": ("priority/urgency", "low, normal, high, urgent, can wait"),
    "purpose": ("purpose/use", "cargo, travel, research, rescue, training"),
    "purpose_aid": ("purpose/goal", "health, education, water, housing, nature"),
    "quality": ("quality/condition", "poor, fair, good, very good, perfect"),
    "rank": ("rank", "first class, second class, third class, chief, deputy"),
    "region": ("region/zone", "north, south, east, west, center, north coast, south coast"),
    "season": ("season/part_of_year", "spring, summer, autumn, winter, rainy season"),
    "section": ("section/desk", "sports, politics, culture, science, economy, travel"),
    "soil": ("soil/ground", "clay, sand, chalk, loam, peat"),
    "specialty": ("specialty/practice", "heart, skin, bones, family law, tax law, children"),
    "specialty_dish": ("specialty/best_dish", "soup, pasta, fish, bread, dessert, grill"),
    "sport": ("sport/discipline", "tennis, boxing, yoga, rowing, running, judo"),
    "state": (
        "status/state",
        "in progress, done, cancelled, on hold, waiting, not started, under review",
    ),
    "style": ("style", "modern, classic, abstract, folk, baroque, realist"),
    "subject": ("subject/field_taught", "math, biology, history, music, art, chemistry"),
    "taste": ("taste/flavor", "sweet, sour, bitter, salty, spicy, mild"),
    "term": ("term/semester", "spring, summer, autumn, winter, full year"),
    "tier": ("tier/membership", "gold, silver, bronze, standard, trial period"),
    "version": ("version/release_line", "alpha, beta, stable, legacy, preview"),
    "view": ("outlook/side", "sea, garden, street, mountain, no view"),
}

COMMON_ATTRIBUTES = (
    "rating price weight color country city state year cost region quality kind level priority "
    "score hours category capacity"
).split()
"""Attributes that may replace one of an entity's own, so that no table has one fixed form."""

PERSON_COLUMNS = "name/full_name"
TITLE_COLUMNS = "title/name/label"

FIRST_NAMES = (
    "Anna Ben Carla David Emma Felix Grace Henry Ida Jonas Karen Leo Maria Nils Olga Paul Rosa "
    "Simon Tara Victor Wanda Yara Alan Clara Eric Fiona Hugo Jane Marco Nina"
).split()
LAST_NAMES = (
    "Adams Baker Carter Diaz Evans Fisher Garcia Hansen Jansen Keller Lopez Meyer Nolan Olsen "
    "Peters Quinn Reed Silva Torres Wagner Young Berg Costa Duarte Frank Gray Hill Klein Moore "
    "Novak Price Rossi Stone Walsh"
).split()
TITLE_FIRST = (
    "Silver Golden Blue Red Green White Black Bright Quiet Wild Happy Lost Hidden Grand Little "
    "Old New Royal Northern Southern Eastern Western Early Late Iron Crystal Noble Swift Lucky Deep"
).split()
TITLE_SECOND = (
    "River Mountain Harbor Garden Star Moon Sun Forest Bridge Castle Field Lake Stone Valley "
    "Tower Island Ocean Rose Eagle Lion Wolf Falcon Crown Arrow Dream Song Fire Storm Wind Light"
).split()
