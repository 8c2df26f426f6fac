"""The words of the national schema "Lieux de médiation numérique": its columns, its closed lists, and its older terms.

Source: https://github.com/LaMednum/standard-mediation-num, v1.0.2; the terms of v0.1.1 are rendered by their meaning.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

COLUMNS = (
    "id", "pivot", "nom", "commune", "code_postal", "code_insee", "adresse", "complement_adresse", "latitude",
    "longitude", "typologie", "telephone", "courriels", "site_web", "horaires", "presentation_resume",
    "presentation_detail", "source", "itinerance", "structure_parente", "date_maj", "services",
    "publics_specifiquement_adresses", "prise_en_charge_specifique", "frais_a_charge",
    "dispositif_programmes_nationaux", "formations_labels", "autres_formations_labels", "modalites_acces",
    "modalites_accompagnement", "fiche_acces_libre", "prise_rdv",
)  # fmt: skip

SERVICES, PUBLICS, CARE = "services", "publics_specifiquement_adresses", "prise_en_charge_specifique"
LABELS = ("dispositif_programmes_nationaux", "formations_labels", "autres_formations_labels")
# Columns that are kept of a place as the source has them.
DETAILS = (
    "complement_adresse", "telephone", "courriels", "site_web", "horaires", "presentation_resume",
    "presentation_detail", "source", "itinerance", "structure_parente", CARE, "frais_a_charge", "modalites_acces",
    "modalites_accompagnement", "fiche_acces_libre", "prise_rdv",
)  # fmt: skip

_OTHER_LANGUAGES = "Langues étrangères (autres)"
CLOSED: Mapping[str, Sequence[str]] = {
    SERVICES: (
        "Aide aux démarches administratives",
        "Maîtrise des outils numériques du quotidien",
        "Insertion professionnelle via le numérique",
        "Utilisation sécurisée du numérique",
        "Parentalité et éducation avec le numérique",
        "Loisirs et créations numériques",
        "Compréhension du monde numérique",
        "Accès internet et matériel informatique",
        "Acquisition de matériel informatique à prix solidaire",
    ),
    PUBLICS: ("Jeunes", "Étudiants", "Familles et/ou enfants", "Seniors", "Femmes"),
    CARE: (
        "Surdité",
        "Handicaps moteurs",
        "Handicaps mentaux",
        "Illettrisme",
        "Langues étrangères (anglais)",
        _OTHER_LANGUAGES,
        "Déficience visuelle",
    ),
    "itinerance": ("Itinérant", "Fixe"),
    "frais_a_charge": ("Gratuit", "Gratuit sous condition", "Payant"),
    "dispositif_programmes_nationaux": (
        "Aidants Connect",
        "Bibliothèques numérique de référence",
        "Certification PIX",
        "Conseillers numériques",
        "Emmaüs Connect",
        "France Services",
        "Grande école du numérique",
        "La Croix Rouge",
        "Point d'accès numérique CAF",
        "Promeneurs du net",
        "Relais numérique (Emmaüs Connect)",
    ),
    "formations_labels": (
        "Formé à « Mon Espace Santé »",
        "Formé à « DUPLEX » (illettrisme)",
        "Arnia/MedNum BFC (Bourgogne-Franche-Comté)",
        "Collectif ressources et acteurs réemploi (Normandie)",
        "Étapes numériques(La Poste)",
        "Fabriques de Territoire",
        "Les Éclaireurs du numérique (Drôme)",
        "Mes Papiers (Métropole de Lyon)",
        "ORDI 3.0",
        "SUD LABS (PACA)",
    ),
    "modalites_acces": (
        "Se présenter",
        "Téléphoner",
        "Contacter par mail",
        "Prendre un RDV en ligne",
        "Ce lieu n'accueille pas de public",
        "Envoyer un mail avec une fiche de prescription",
    ),
    "modalites_accompagnement": (
        "En autonomie",
        "Accompagnement individuel",
        "Dans un atelier collectif",
        "À distance",
    ),
}

# The names of columns in the older schema.
OLDER_COLUMNS = {"courriels": "courriel", "frais_a_charge": "conditions_acces"}

# Terms of the older schema. An empty one: v1 says it by saying nothing.
_OLDER: Mapping[str, Mapping[str, str]] = {
    SERVICES: {
        "Devenir autonome dans les démarches administratives": "Aide aux démarches administratives",
        "Réaliser des démarches administratives avec un accompagnement": "Aide aux démarches administratives",
        "Accompagner les démarches de santé": "Aide aux démarches administratives",
        "Prendre en main un smartphone ou une tablette": "Maîtrise des outils numériques du quotidien",
        "Prendre en main un ordinateur": "Maîtrise des outils numériques du quotidien",
        "Utiliser le numérique au quotidien": "Maîtrise des outils numériques du quotidien",
        "Approfondir ma culture numérique": "Compréhension du monde numérique",
        "Promouvoir la citoyenneté numérique": "Compréhension du monde numérique",
        "Favoriser mon insertion professionnelle": "Insertion professionnelle via le numérique",
        "Créer et développer mon entreprise": "Insertion professionnelle via le numérique",
        "Accéder à une connexion internet": "Accès internet et matériel informatique",
        "Accéder à du matériel": "Accès internet et matériel informatique",
        "S'équiper en matériel informatique": "Acquisition de matériel informatique à prix solidaire",
        "Créer avec le numérique": "Loisirs et créations numériques",
        "Soutenir la parentalité et l'éducation avec le numérique": "Parentalité et éducation avec le numérique",
    },
    PUBLICS: {
        "Seniors (+ 65 ans)": "Seniors",
        "Familles/enfants": "Familles et/ou enfants",
        "Jeunes (16-26 ans)": "Jeunes",
        "Uniquement femmes": "Femmes",
        "Adultes": "",
    },
    CARE: {
        "Public langues étrangères": _OTHER_LANGUAGES,
        "Personnes en situation d'illettrisme": "Illettrisme",
        "Handicaps mentaux : déficiences limitant les activités d'une personne": "Handicaps mentaux",
        "Handicaps psychiques : troubles psychiatriques donnant lieu à des atteintes comportementales": (
            "Handicaps mentaux"
        ),
    },
    "frais_a_charge": {
        "Gratuit : Je peux accéder gratuitement au lieu et à ses services": "Gratuit",
        "Gratuit sous condition : La gratuité est conditionnée à des critères (situation familiale, convention avec un"
        " organisme social...)": "Gratuit sous condition",
        "Payant : L'accès au lieu et/ou à ses services est payant": "Payant",
        "Adhésion : L'accès au lieu et/ou à ses services nécessite d'y adhérer": "Payant",
        "Accepte le Pass numérique : Il est possible d'utiliser un Pass numérique pour accéder au lieu": "",
    },
    "modalites_accompagnement": {
        "Seul : j'ai accès à du matériel et une connexion": "En autonomie",
        "Avec de l'aide : je suis accompagné seul dans l'usage du numérique": "Accompagnement individuel",
        "Dans un atelier : j'apprends collectivement à utiliser le numérique": "Dans un atelier collectif",
        "A ma place : une personne habilitée fait les démarches à ma place": "Accompagnement individuel",
    },
    "labels": {
        "CNFS": "Conseillers numériques",
        "Grandes écoles du numérique": "Grande école du numérique",
        "Point numérique CAF": "Point d'accès numérique CAF",
    },
}
# v0.1 has them among the publics, v1 in a column of their own.
CARE_AMONG_PUBLICS = frozenset(CLOSED[CARE]) | frozenset(_OLDER[CARE])

TELEPHONE = re.compile(r"\+(33|590|594|262|596|269|687|689|508|681)[0-9]{6,9}")
_FRENCH_TELEPHONE = re.compile(r"0([1-9][0-9]{8})")
LONGEST_SUMMARY = 280


def translate(column: str, items: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The entries of a closed list in the terms of v1, without repetitions, and the entries that v1 does not have."""
    older = _OLDER.get(column, {})
    terms = dict.fromkeys(term for item in items if (term := older.get(item, item)))
    unknown = tuple(term for term in terms if term not in CLOSED[column])
    return tuple(term for term in terms if term not in unknown), unknown


def label_groups(labels: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Labels in the terms of v1, without repetitions, by the columns `LABELS`: the last takes what is on no list."""
    groups: dict[str, list[str]] = {column: [] for column in LABELS}
    for label in dict.fromkeys(_OLDER["labels"].get(label, label) for label in labels):
        column = next((column for column in LABELS[:-1] if label in CLOSED[column]), LABELS[-1])
        groups[column].append(label)
    return tuple(map(tuple, groups.values()))


def telephone(written: str) -> str | None:
    """A telephone number as the schema has it, `+33…`; None where it is none."""
    plain = re.sub(r"[\s.\-()\u00a0\u202f]", "", written)
    plain = _FRENCH_TELEPHONE.sub(r"+33\1", plain) if _FRENCH_TELEPHONE.fullmatch(plain) else plain
    return plain if TELEPHONE.fullmatch(plain) else None
