"""Makes the list of common passwords: see ``tools/common_passwords``. Written for it, not taken from leaked lists.

Only the words stand here: appliance/access/common_passwords.py takes years, suffixes and spelling with digits off.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tools.catalogue import ROOT

FILE: Final = ROOT / "appliance" / "access" / "common_passwords.txt"
HEAD: Final = "# Made by tools/common_passwords\n"

ACCESS: Final = """
password passwort passwd pass passphrase passcode parola parolachiave parolaordine chiave segreto segreta secret secrets
secure security sicuro sicura sicurezza admin administrator administrators amministratore amministrazione administration
root superuser superadmin sysadmin supervisor operator operatore user users utente utenti guest ospite login logon signin
accesso access enter entra entrare ingresso welcome benvenuto benvenuti benvenuta letmein fammientrare apritisesamo
opensesame changeme cambiami change cambiare default temp temporary temporanea temporaneo provvisoria initial iniziale
test testing tester prova prove example esempio demo sample nopassword nessuna none null blank unknown mypassword
lamiapassword miapassword yourpassword tuapassword newpassword nuovapassword oldpassword vecchiapassword master key
manager direttore director system sistema server computer internet network rete private privato personal personale
account profilo profile company azienda ditta impresa office ufficio business lavoro work home casa config setup reset
"""

PRODUCT: Final = """
centralino centralini centralinista centrale telefono telefoni telefonia telefonica telefonico phone phones telephone
telephony voip asterisk freepbx elastix issabel pbx ippbx pabx sip sipphone extension interno interni trunk voicemail
segreteria callcenter contact center chiamata chiamate call calls reception receptionist segretaria dect handset cordless
switchboard operatore fax modem router gateway firewall switch vpn wifi wireless linux debian ubuntu windows microsoft
google apple android iphone samsung nokia cisco yealink grandstream snom gigaset polycom mitel avaya panasonic siemens
telecom telecomitalia tim vodafone fastweb wind windtre iliad tiscali wildix aruba facebook instagram whatsapp twitter
youtube amazon netflix spotify outlook gmail hotmail yahoo libero virgilio alice oracle database mysql postgres postgresql
sqlite python flask cloud portal portale console dashboard support supporto assistenza helpdesk service servizio tecnico
technician installer installatore rivenditore reseller fornitore provider cliente clienti
"""

TIME: Final = """
january february march april may june july august september october november december gennaio febbraio marzo aprile maggio
giugno luglio agosto settembre ottobre novembre dicembre monday tuesday wednesday thursday friday saturday sunday lunedi
martedi mercoledi giovedi venerdi sabato domenica spring summer autumn fall winter primavera estate autunno inverno today
tomorrow yesterday oggi domani ieri forever persempre always sempre never mai christmas natale pasqua easter vacanza
vacanze holiday holidays weekend birthday compleanno happy auguri newyear annonuovo buongiorno buonasera buonanotte
"""

NAMES: Final = """
alessandro alessandra alessia alessio alice andrea angela angelo anna antonella antonio arianna aurora barbara beatrice
camilla carla carlo caterina chiara christian cinzia claudia claudio cristian cristina daniela daniele dario davide debora
diego domenico edoardo elena eleonora elisa elisabetta emanuela emanuele emma enrico erica fabio fabrizio federica federico
filippo francesca francesco gabriele gabriella giacomo gianluca gianni ginevra giorgia giorgio giovanna giovanni giulia
giulio giuseppe giuseppina greta ilaria irene ivan jessica laura leonardo lorenzo luca lucia luciano luigi manuel manuela
marco margherita maria mario marta martina massimo matilde matteo mattia maurizio michela michele mirko monica nicola
nicole nicolo paola paolo pasquale patrizia pietro raffaele riccardo roberta roberto rosa rosario salvatore samuele sara
serena sergio silvia simona simone sofia stefania stefano teresa tommaso valentina valentino valeria valerio vincenzo
vittoria vittorio viviana adam alexander alexandra amanda andrew anthony ashley benjamin brian charles charlie charlotte
christopher daniel david dennis edward elizabeth emily eric ethan frank george hannah harry heather henry isabella jack
jacob james jasmine jason jeffrey jennifer jessie john jonathan jordan joseph joshua justin katherine kevin kimberly larry
lauren lily linda lisa liverpool madison maggie matthew megan melissa michael michelle mike nancy natalie nathan nicholas
olivia oscar patrick paul peter philip rachel rebecca richard robert ronald ryan samantha samuel sarah scott sophia sophie
stephanie stephen steven susan taylor thomas tiffany timothy tyler vanessa victoria vincent walter william zachary
rossi ferrari russo bianchi romano colombo ricci marino greco bruno gallo conti deluca mancini costa giordano rizzo
lombardi moretti smith johnson williams brown jones miller davis
"""

LIKED: Final = """
iloveyou loveyou tiamo tiamotanto tivogliobene amore amoremio love lover loveme lovely sweet sweetheart honey baby angel
angels angelo heart cuore tesoro piccola piccolo principessa principe princess prince queen king regina bambina bambino
mamma papa mother father family famiglia friend friends amico amici amicizia sister brother sorella fratello freedom
liberta peace pace hope speranza faith fede destiny destino fortuna lucky luck dream dreams sogno sogni beautiful bella
bello bellissima ciao ciaociao hello hallo hola goodbye arrivederci grazie thanks please prego whatever trustno one nothing
niente stupid stupido vaffanculo cazzo merda fuckyou fuck fucking sexy bitch asshole sunshine sun sole moon luna star stars
stella stelle sky cielo sea mare ocean beach spiaggia mountain montagna flower flowers fiore fiori rose rosa rainbow
arcobaleno fire fuoco water acqua thunder storm tempesta snow neve music musica guitar chitarra piano soccer football
calcio pallone baseball basketball basket hockey tennis volley pallavolo golf rugby ciclismo bicicletta moto motocross
harley yamaha honda ducati ferrari lamborghini maserati porsche mercedes bmw audi fiat alfaromeo mustang corvette toyota
juventus juve forzajuve milan forzamilan acmilan inter forzainter internazionale napoli forzanapoli roma forzaroma asroma
lazio fiorentina torino toro genoa sampdoria atalanta bologna palermo cagliari verona udinese maradona ronaldo messi totti
delpiero baggio buffon valentinorossi arsenal chelsea barcelona realmadrid manchester united yankees cowboys steelers
eagles lakers italia italy italiano italiana milano rome firenze venezia sicilia sardegna puglia toscana london londra
paris parigi newyork california texas america europe europa brasil argentina dog dogs cane cat cats gatto gatta gattino
micio horse cavallo lion leone tiger tigre tigers bear orso wolf lupo eagle aquila dragon drago dragons monkey scimmia
monkeys panda rabbit coniglio mouse topo topolino paperino pippo pluto minnie bird uccello fish pesce shark squalo dolphin
delfino butterfly farfalla spider ragno snake serpente elephant elefante turtle tartaruga penguin pinguino black nero white
bianco red rosso blue azzurro green verde yellow giallo orange arancione purple viola pink silver argento gold golden oro
batman superman spiderman ironman pokemon pikachu naruto goku dragonball starwars skywalker darthvader jedi harrypotter
hogwarts gandalf frodo matrix terminator rocky rambo godzilla simpson simpsons homer mickey donald snoopy garfield shadow
hunter killer ninja samurai warrior guerriero soldier ranger pirate pirata hacker wizard mago magic magia merlin phoenix
fenice diamond diamante crystal cristallo pepper peperoncino cookie cookies biscotto chocolate cioccolato cioccolata
nutella pizza pasta spaghetti gelato caffe coffee birra beer vino wine banana apple mela fragola strawberry cherry ciliegia
cheese formaggio chicken pollo summertime winner champion campione campioni victory vittoria legend legends leggenda power
potere energy energia force forza jesus gesu god dio maria madonna angelocustode allah christ blessed paradise paradiso
heaven hell inferno devil diavolo satan lucifer metallica nirvana beatles eminem vasco vascorossi ligabue queen slipknot
greenday playstation nintendo xbox gamer gaming player giocatore minecraft fortnite roblox counterstrike mario zelda sonic
money soldi denaro dollar euro million milione milionario rich ricco access mustang jordan hunter buster tigger ginger
cooper bailey max maggie molly daisy lucky charlie fuffi pallino briciola stellina amorino cucciolo cucciola orsetto
supercalifragilistichespiralidoso trustnoone blahblah abracadabra simsalabim whatever letmeinnow nevermind
correcthorsebatterystaple
"""

SMALL: Final = (
    "the and for with you your my mio mia il la lo di da in un una new old nuovo nuova abc xyz asd qwe zxc aaa"
)

ROWS: Final = (
    "1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm",  # most of the world
    "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn",  # Germany, France
    "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm", "azertyuiopqsdfghjklmwxcvbn",
    "abcdefghijklmnopqrstuvwxyz", "01234567890123456789", "0987654321098765432109876543210",
    "qazwsxedcrfvtgbyhnujmikolp", "zaq12wsxcde34rfvbgt56yhnmju78ik", "qazxswedcvfrtgbnhyujm", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p", "zaqxswcdevfrbgtnhymjukilop",
    "zaq1xsw2cde3vfr4bgt5nhy6mju7ki8lo9p0", "q1w2e3r4t5y6u7i8o9p0", "1q2w3e4r5t6y7u8i9o0p", "a1b2c3d4e5f6g7h8i9j0",
    "1a2b3c4d5e6f7g8h9i0j", "qweasdzxc", "asdqwezxc", "qwe123asd456zxc789", "123qweasdzxc", "qwer1234asdf5678", "147258369",
    "741852963", "159357", "789456123", "31415926535897932384626433", "27182818284590452353", "112233445566778899",
    "aabbccddeeffgghh", "qqwweerrttyyuuiioopp", "abcabcdabcde", "11235813213455",
)  # fmt: skip
SHORTEST_WALK: Final = 4


def walks() -> Iterator[str]:
    """Every stretch of a row, forth and back."""
    for row in ROWS:
        for way in (row, row[::-1]):
            for start in range(len(way) - SHORTEST_WALK + 1):
                for end in range(start + SHORTEST_WALK, len(way) + 1):
                    yield way[start:end]


def words() -> set[str]:
    """Everything, in the form that is looked up: no capitals, at least three characters."""
    found = {word for text in (ACCESS, PRODUCT, TIME, NAMES, LIKED, SMALL) for word in text.split()}
    return {word for word in found | set(walks()) if len(word) >= 3}


def text_of_list() -> str:
    """The file's content."""
    return HEAD + "".join(word + "\n" for word in sorted(words()))


if __name__ == "__main__":
    FILE.write_text(text_of_list(), "utf-8")
