/*
 * sha256 -- SHA-256 of files and of memory
 */
#include "datasets/sha256.h"

#include <errno.h>
#include <string.h>

#include <openssl/evp.h>

static int
add_file(EVP_MD_CTX *md, const char *path, struct vq_diags *d)
{
	unsigned char buf[1 << 16];
	FILE *f = fopen(path, "rb");
	size_t n;

	if (f == NULL) {
		vq_error(d, VQ_DATA, NULL, "%s: %s", path, strerror(errno));
		return -1;
	}
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		if (EVP_DigestUpdate(md, buf, n) != 1)
			vq_bug("libcrypto refuses to hash");

	int bad = ferror(f) ? errno : 0;

	fclose(f);
	if (bad != 0) {
		vq_error(d, VQ_DATA, NULL, "%s: cannot be read: %s", path, strerror(bad));
		return -1;
	}
	return 0;
}

static EVP_MD_CTX *
begin(const EVP_MD *how)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	if (md == NULL || EVP_DigestInit_ex(md, how, NULL) != 1)
		vq_bug("libcrypto refuses to begin a sum");
	return md;
}

static void
end(EVP_MD_CTX *md, char hex[65])
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	if (EVP_DigestFinal_ex(md, sum, &len) != 1 || len > 32)
		vq_bug("libcrypto's sum has more than 32 bytes");
	EVP_MD_CTX_free(md);
	for (unsigned int i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", sum[i]);
}

int
vq_sha256_files(char *const *path, int n, char hex[65], struct vq_diags *d)
{
	EVP_MD_CTX *md = begin(EVP_sha256());
	int rc = 0;

	for (int i = 0; i < n && rc == 0; i++)
		rc = add_file(md, path[i], d);
	end(md, hex);
	if (rc < 0)
		hex[0] = '\0';
	return rc;
}

int
vq_md5_file(const char *path, char hex[65], struct vq_diags *d)
{
	EVP_MD_CTX *md = begin(EVP_md5());
	int rc = add_file(md, path, d);

	end(md, hex);
	return rc;
}

void
vq_sha256_bytes(const struct vq_bytes *piece, int n, char hex[65])
{
	EVP_MD_CTX *md = begin(EVP_sha256());

	for (int i = 0; i < n; i++)
		if (piece[i].n > 0 && EVP_DigestUpdate(md, piece[i].p, piece[i].n) != 1)
			vq_bug("libcrypto refuses to hash");
	end(md, hex);
}
