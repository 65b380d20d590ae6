"""A bare Asterisk with a hand-written configuration: what the harness's self-tests talk to.

Tests of the product don't use this: they start the engine with the product's own code. The harness must be known to
work before it judges the product, so it is tried here against the smallest configuration that has every transport.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import ssl
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.engine.processes import urgent
from tests.hil.agents.audio import tone, write_wav
from tests.hil.agents.network import Host
from tests.hil.agents.process import AgentError, eventually

MODULES = [
    "res_timing_timerfd",
    "res_sorcery_memory",
    "res_sorcery_config",
    "res_sorcery_astdb",
    "res_pjproject",
    "res_crypto",
    "res_http_websocket",
    "res_geolocation",
    "res_statsd",
    "res_rtp_asterisk",
    "res_srtp",
    "res_pjsip",
    "res_pjsip_session",
    "res_pjsip_sdp_rtp",
    "res_pjsip_caller_id",
    "res_pjsip_diversion",
    "res_pjsip_registrar",
    "res_pjsip_outbound_publish",
    "res_pjsip_outbound_registration",
    "res_pjsip_outbound_authenticator_digest",
    "res_pjsip_authenticator_digest",
    "res_pjsip_endpoint_identifier_user",
    "res_pjsip_endpoint_identifier_ip",
    "res_pjsip_acl",
    "res_pjsip_refer",
    "res_pjsip_pubsub",
    "res_pjsip_exten_state",
    "res_pjsip_dialog_info_body_generator",
    "res_pjsip_pidf_body_generator",
    "res_pjsip_nat",
    "res_pjsip_rfc3326",
    "res_pjsip_dtmf_info",
    "res_pjsip_path",
    "res_pjsip_transport_websocket",
    "res_pjsip_header_funcs",
    "chan_pjsip",
    "bridge_simple",
    "bridge_native_rtp",
    "bridge_softmix",
    "bridge_holding",
    "bridge_builtin_features",
    "codec_alaw",
    "codec_ulaw",
    "codec_g722",
    "codec_resample",
    "codec_opus_open_source",
    "res_format_attr_opus",
    "format_wav",
    "format_pcm",
    "app_dial",
    "app_playback",
    "app_echo",
    "app_playtones",
    "app_stack",
    "app_verbose",
    "app_transfer",
    "res_musiconhold",
    "func_callerid",
    "func_channel",
    "func_strings",
    "func_logic",
    "pbx_config",
]
QUIET = [
    f"{name}.conf" for name in ["ccss", "cdr", "cel", "features", "acl", "udptl", "pjproject", "geolocation", "statsd"]
]
PASSWORD = "harness-only"
MUSIC_HZ = 750  # its music on hold is a tone
PHONES = {  # number: (media_encryption, codecs)
    **{str(n): ("no", "alaw,ulaw") for n in range(101, 121)},
    "131": ("sdes", "alaw"), "132": ("sdes", "alaw"),
    "141": ("no", "g722"), "142": ("no", "g722"),
    "151": ("no", "opus"), "152": ("no", "opus"),
    "161": ("dtls", "alaw"), "162": ("dtls", "alaw"),
    "171": ("webrtc", "opus"), "172": ("webrtc", "opus,alaw"),
}  # fmt: skip
EXTENSIONS = """
[default]
exten => _1XX,hint,PJSIP/${EXTEN}
exten => _1XX,1,Dial(PJSIP/${EXTEN},60)
exten => 600,1,Answer()
 same => n,Echo()
exten => 601,1,Answer()
 same => n,Playtones(1000)
 same => n,Wait(30)
exten => 602,1,Answer()
 same => n,Playtones(1000/500\\,0/100\\,1000/500\\,0/60)
 same => n,Wait(30)
exten => _0X.,1,Dial(PJSIP/${EXTEN:1}@trunk,60)
exten => _39X.,1,Dial(PJSIP/101,60)
"""


def make_certificate(directory: Path, *addresses: str) -> Path:
    """A self-signed P-256 certificate for IP addresses, `cert.pem` with `key.pem` beside it (0600). Valid 2 days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, addresses[0])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(a)) for a in addresses]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "cert.pem").write_bytes(certificate.public_bytes(encoding))
    (directory / "key.pem").touch(0o600)
    (directory / "key.pem").write_bytes(private)
    return directory / "cert.pem"


def trusting(certificate: Path) -> ssl.SSLContext:
    """A TLS client context that trusts exactly this certificate."""
    return ssl.create_default_context(cafile=str(certificate))


def find_root() -> Path | None:
    """The engine root to try: CENTRALINO_TEST_ENGINE_ROOT, else the newest built one of this checkout."""
    if given := os.environ.get("CENTRALINO_TEST_ENGINE_ROOT"):
        return Path(given)
    cache = Path(os.environ.get("CENTRALINO_CACHE", Path(__file__).parents[3] / ".cache"))
    built = sorted(cache.glob("engine/*/root"), key=lambda p: p.stat().st_mtime)
    return built[-1] if built else None


def _pjsip(host: Host) -> str:
    text = "[global]\ntype=global\nuser_agent=engine\n[system]\ntype=system\n"
    v4, v6 = host.legs["voice"]
    for name, bind, more in (
        ("udp", f"{v4}:5060", ""), ("tcp", f"{v4}:5060", ""), ("udp6", f"[{v6}]:5060", ""),
        ("tls", f"{v4}:5061", "cert_file=/etc/asterisk/cert.pem\npriv_key_file=/etc/asterisk/key.pem\nmethod=tlsv1_2\n"),
        ("wss", f"{v4}:5066", ""),
    ):  # fmt: skip
        text += f"[{name}]\ntype=transport\nprotocol={name.rstrip('6')}\nbind={bind}\n{more}"
    if "provider" in host.legs:
        text += f"[provider]\ntype=transport\nprotocol=udp\nbind={host.address_on('provider')}:5060\n"
    for number, (encryption, codecs) in PHONES.items():
        media = {"dtls": "media_encryption=dtls\nuse_avpf=yes\nrtcp_mux=yes\ndtls_auto_generate_cert=yes\ndtls_verify=fingerprint\ndtls_setup=actpass\n",
                 "webrtc": "webrtc=yes\n"}.get(encryption, f"media_encryption={encryption}\n")  # fmt: skip
        text += (
            f"[{number}]\ntype=endpoint\ncontext=default\ndisallow=all\nallow={codecs}\nauth={number}\naors={number}\n"
        )
        text += f"callerid=Phone {number} <{number}>\ndirect_media=no\nrewrite_contact=yes\nrtp_symmetric=yes\n{media}"
        text += f"[{number}]\ntype=auth\nauth_type=userpass\nusername={number}\npassword={PASSWORD}\n"
        text += f"[{number}]\ntype=aor\nmax_contacts=1\nremove_existing=yes\n"
    return text


def _trunk(provider: str) -> str:
    return f"""
[trunk]\ntype=endpoint\ncontext=default\ndisallow=all\nallow=alaw\naors=trunk\noutbound_auth=trunk\ntransport=provider
direct_media=no\nsend_pai=yes\nfrom_user=0200000000
[trunk]\ntype=auth\nauth_type=userpass\nusername=trunk\npassword={PASSWORD}
[trunk]\ntype=aor\ncontact=sip:{provider}:5060
[trunk]\ntype=identify\nendpoint=trunk\nmatch={provider}
[trunk]\ntype=registration\ntransport=provider\noutbound_auth=trunk\nretry_interval=1\nforbidden_retry_interval=1
auth_rejection_permanent=no\nserver_uri=sip:{provider}:5060\nclient_uri=sip:trunk@{provider}:5060\nexpiration=60
"""


class BareEngine:
    """Asterisk from an engine root, in a namespace, until the end of the `with`."""

    def __init__(self, host: Host, root: Path, work: Path, provider: str | None = None) -> None:
        self.host, self.root, self.work = host, root, work
        etc = work / "etc"
        for folder in ("etc", "lib", "spool", "log", "run"):
            (work / folder).mkdir(parents=True)
        make_certificate(etc, *host.legs["voice"])
        (work / "lib" / "moh").mkdir()
        write_wav(work / "lib" / "moh" / "tone.wav", tone(MUSIC_HZ, 20))
        files = {
            "asterisk.conf": "[directories]\nastetcdir => /etc/asterisk\nastrundir => /run/asterisk\n",
            "modules.conf": "[modules]\nautoload=no\n" + "".join(f"load = {module}.so\n" for module in MODULES),
            "logger.conf": "[logfiles]\nmessages => notice,warning,error,verbose\n",
            "http.conf": "[general]\nenabled=yes\nbindaddr=127.0.0.1\ntlsenable=yes\n"
            f"tlsbindaddr={host.legs['voice'][0]}:8089\ntlscertfile=/etc/asterisk/cert.pem\ntlsprivatekey=/etc/asterisk/key.pem\n",
            "rtp.conf": "[general]\nrtpstart=20000\nrtpend=21999\n",
            "indications.conf": "[general]\ncountry=it\n[it]\ndescription=Italy\nringcadence=1000,4000\ndial=425/200,0/200\n",
            "musiconhold.conf": "[default]\nmode=files\ndirectory=/var/lib/asterisk/moh\n",
            "pjsip.conf": _pjsip(host) + (_trunk(provider) if provider else ""),
            "extensions.conf": EXTENSIONS,
        }
        files |= dict.fromkeys(QUIET, "")
        for name, text in files.items():
            (etc / name).write_text(text)
        (work / "hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()} A.ROOT-SERVERS.NET\n")
        (work / "resolv.conf").write_text("")

    @property
    def certificate(self) -> Path:
        return self.work / "etc" / "cert.pem"

    def _sandbox(self, *command: str) -> list[str]:
        binds = {
            "lib": "/var/lib/asterisk",
            "spool": "/var/spool/asterisk",
            "log": "/var/log/asterisk",
            "run": "/run/asterisk",
        }
        argv = ["bwrap", "--die-with-parent", "--ro-bind", str(self.root), "/", "--dev", "/dev", "--proc", "/proc"]
        argv += ["--tmpfs", "/tmp", "--tmpfs", "/run", "--tmpfs", "/etc"]  # its own /etc: a root may lack hosts
        for entry in sorted((self.root / "etc").iterdir()):
            if entry.name not in {"hosts", "resolv.conf", "asterisk"} and not entry.is_symlink():
                argv += ["--ro-bind", str(entry), f"/etc/{entry.name}"]
        argv += ["--ro-bind", str(self.work / "etc"), "/etc/asterisk"]
        for name in ("hosts", "resolv.conf"):
            argv += ["--ro-bind", str(self.work / name), f"/etc/{name}"]
        for name, target in binds.items():
            argv += ["--bind", str(self.work / name), target]
        return [*argv, *command]

    def cli(self, command: str) -> str:
        """Output of one Asterisk CLI command."""
        return self.host.run(self._sandbox("asterisk", "-rx", command), check=False).stdout

    def __enter__(self) -> Self:
        self.child = self.host.start(
            [*urgent(), *self._sandbox("asterisk", "-f", "-vvv", "-C", "/etc/asterisk/asterisk.conf")],
            self.work / "stdout",
        )
        try:
            eventually(self._booted, "the bare engine is up", 30, every_s=0.2)
        except AgentError:
            self.child.stop()
            raise AgentError(f"the bare engine did not start\n{self.child.text()}\n{self.log()}") from None
        return self

    def _booted(self) -> bool:
        if not self.child.running:
            raise AgentError("the bare engine ended")
        return "System uptime" in self.cli("core show uptime")

    def log(self) -> str:
        path = self.work / "log" / "messages"
        return path.read_text(errors="replace") if path.exists() else ""

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.child.stop()
