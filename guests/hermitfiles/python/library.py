# Writes the standard library that is inside of python.wasm to standard output, as a tar archive.
import io
import sys
import tarfile
import zipfile

library = next(path for path in sys.path if path.endswith(".zip"))
with zipfile.ZipFile(library) as files, tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
    for name in sorted(files.namelist()):
        if not name.endswith("/"):
            member = tarfile.TarInfo(name)
            member.size = files.getinfo(name).file_size
            archive.addfile(member, io.BytesIO(files.read(name)))
