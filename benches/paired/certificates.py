"""An ECDSA P-256 authority with a long revocation list, a server and a client certificate, the same for every broker."""

import secrets
import subprocess

REVOKED = 10_000


def make(folder):
    authority = folder / "ca"
    key(authority)
    openssl(
        "req", "-x509", "-new", "-key", f"{authority}.key", "-out", f"{authority}.pem", "-days", "2", "-subj", "/CN=bench CA",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )
    issue(folder, "server", "localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    issue(folder, "client", "bench", "extendedKeyUsage=clientAuth\n")
    revoke(folder)


def revoke(folder):
    """A list of certificates that nobody shows."""
    entry = "R\t491231235959Z\t250101000000Z\t{}\tunknown\t/CN=gone\n"
    (folder / "index.txt").write_text("".join(entry.format(f"7{secrets.token_hex(16).upper()[1:]}") for _ in range(REVOKED)))
    (folder / "crlnumber").write_text("01\n")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca = bench\n[bench]\ndatabase = {folder}/index.txt\ncrlnumber = {folder}/crlnumber\n"
        "default_md = sha256\ndefault_crl_days = 2\ncrl_extensions = list\n[list]\nauthorityKeyIdentifier = keyid\n"
    )
    openssl("ca", "-gencrl", "-config", str(folder / "ca.cnf"), "-keyfile", f"{folder}/ca.key", "-cert", f"{folder}/ca.pem", "-out", f"{folder}/ca.crl")


def issue(folder, name, common_name, extensions):
    path = folder / name
    key(path)
    (folder / f"{name}.ext").write_text(extensions)
    openssl("req", "-new", "-key", f"{path}.key", "-out", f"{path}.csr", "-subj", f"/CN={common_name}/OU=bench")
    openssl(
        "x509", "-req", "-in", f"{path}.csr", "-CA", f"{folder / 'ca'}.pem", "-CAkey", f"{folder / 'ca'}.key",
        "-CAcreateserial", "-days", "2", "-extfile", f"{path}.ext", "-out", f"{path}.pem",
    )


def key(path):
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{path}.key")
    path.with_suffix(".key").chmod(0o600)


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
