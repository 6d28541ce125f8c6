"""An ECDSA P-256 authority, a server and a client certificate, the same for every broker."""

import subprocess


def make(folder):
    authority = folder / "ca"
    key(authority)
    openssl(
        "req", "-x509", "-new", "-key", f"{authority}.key", "-out", f"{authority}.pem", "-days", "2", "-subj", "/CN=bench CA",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )
    issue(folder, "server", "localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    issue(folder, "client", "bench", "extendedKeyUsage=clientAuth\n")


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
