"""Synthetic people: Brazilian names, CPFs with valid check digits, mobile numbers and e-mails.

The people do not exist and no mail provider serves the domains. `demo/front_desk.py` adds the errors that front desks
make when they type these data.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

import polars as pl


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FIRST_NAMES: Final = _words(
    "ADRIANA ALICE ALINE AMANDA ANA ANTÔNIA ANTÔNIO ARTHUR BEATRIZ BERNARDO BRUNA BRUNO CAIO CAMILA CARLOS CECÍLIA "
    "CÉSAR CLÁUDIA CRISTIANE DANIEL DANIELA DAVI DIEGO EDUARDO ELAINE ELISA FÁBIO FERNANDA FERNANDO FLÁVIA FRANCISCA "
    "FRANCISCO GABRIEL GABRIELA GUILHERME HEITOR HELENA IGOR ISABELA JOANA JOÃO JOSÉ JULIANA LARISSA LEANDRO "
    "LETÍCIA LUCAS LUÍS MANUELA MARCELO MÁRCIA MARIA MATEUS NATÁLIA OTÁVIO PATRÍCIA PAULO RAFAEL RENATA ROGÉRIO "
    "SOFIA THIAGO VERA VITÓRIA"
)
_SURNAMES: Final = _words(
    "ABREU AGUIAR ALBUQUERQUE ALMEIDA ALVES AMARAL ANDRADE ARAÚJO ASSIS AZEVEDO BARBOSA BARROS BATISTA BEZERRA BORGES "
    "BRANDÃO BRITO CABRAL CALDEIRA CAMARGO CAMPOS CARDOSO CARVALHO CASTRO CAVALCANTE CHAVES COELHO CORREIA COSTA COUTO "
    "CUNHA DIAS DUARTE ESTEVES FARIAS FERRAZ FERREIRA FONSECA FRANCO FREITAS GALVÃO GARCIA GOMES GONÇALVES GOUVEIA "
    "GUIMARÃES LACERDA LEITE LIMA LOPES MACEDO MACHADO MAGALHÃES MARINHO MARTINS MEDEIROS MEIRELES MELO MENDES MENEZES "
    "MIRANDA MONTEIRO MORAES MOREIRA MOURA NASCIMENTO NOGUEIRA NUNES OLIVEIRA PACHECO PEIXOTO PEREIRA PINHEIRO QUEIROZ "
    "RAMOS REZENDE RIBEIRO ROCHA SAMPAIO SANTANA SIQUEIRA TAVARES TEIXEIRA VASCONCELOS XAVIER"
)
_AREA_CODES: Final = ("27", "28", "61", "62", "63", "65", "85")
# email-validator accepts these domains; it refuses reserved endings such as .test.
_DOMAINS: Final = ("correio-exemplo.com.br", "exemplo-mail.com.br", "caixa-exemplo.com.br")

_MINOR_SHARE: Final = 0.08


def stream(*key: object) -> Random:
    """Return a random generator with the same numbers for the same key on every machine."""
    return Random("|".join(map(str, key)))  # noqa: S311 - repeatable on purpose, used for no secret


def people(count: int, *key: object) -> pl.DataFrame:
    """Return `count` people of a key: name, cpf (11 digits), area_code, mobile (9 digits), email, age (years).

    Names are upper case, as in hospital systems. A smaller count gives the first people of a larger one, because
    each column has its own random generator.
    """

    def pick(column: str, pool: Sequence[str]) -> list[str]:
        return stream(*key, column).choices(pool, k=count)

    drawn = pl.DataFrame(
        {
            "first": pick("first", _FIRST_NAMES),
            "middle": pick("middle", _SURNAMES),
            "last": pick("last", _SURNAMES),
            "cpf": _digits(stream(*key, "cpf"), "0123456789", 9, count),
            "area_code": pick("area_code", _AREA_CODES),
            # Without zeros, no number is part of an encounter id by chance, because ids have many zeros.
            "mobile": _digits(stream(*key, "mobile"), "123456789", 7, count),
            "mobile_range": pick("mobile_range", ("96", "97", "98", "99")),
            "email_number": _digits(stream(*key, "email"), "0123456789", 4, count),
            "domain": pick("domain", _DOMAINS),
            "age": _ages(stream(*key, "age"), count),
        }
    )
    return drawn.select(
        pl.concat_str("first", "middle", "last", separator=" ").alias("name"),
        _with_check_digits(pl.col("cpf")).alias("cpf"),
        "area_code",
        pl.concat_str("mobile_range", "mobile").alias("mobile"),
        pl.format(
            "{}.{}{}@{}", _plain(pl.col("first")), _plain(pl.col("last")), pl.col("email_number"), pl.col("domain")
        ).alias("email"),
        "age",
    )


def _digits(random: Random, alphabet: str, length: int, count: int) -> list[str]:
    run = "".join(random.choices(alphabet, k=length * count))
    return [run[start : start + length] for start in range(0, length * count, length)]


def _ages(random: Random, count: int) -> list[int]:
    # One draw each: draws below the share of minors give ages 1 to 17, the others adult ages.
    draws = (random.random() for _ in range(count))
    return [int(x / _MINOR_SHARE * 17) + 1 if x < _MINOR_SHARE else int(18 + x * 75) for x in draws]


def _plain(name: pl.Expr) -> pl.Expr:
    """Return lower case without accents, as names are written in e-mail addresses."""
    return name.str.to_lowercase().str.normalize("NFD").str.replace_all(r"\p{M}", "")


def _with_check_digits(base: pl.Expr) -> pl.Expr:
    """Return the nine digits with the two check digits of the Receita Federal's rule (modulus 11)."""
    digits = [base.str.slice(position, 1).cast(pl.Int64) for position in range(9)]
    for _ in range(2):
        weighted = pl.sum_horizontal(digit * weight for weight, digit in enumerate(reversed(digits), start=2))
        digits.append(weighted * 10 % 11 % 10)
    return pl.concat_str(base, *(digit.cast(pl.String) for digit in digits[9:]))
