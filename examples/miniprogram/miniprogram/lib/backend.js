const { backendURL } = require('../config');

/**
 * A user token from the app's backend. In a published mini program `wx.login`'s code says who the user is; the name
 * is for trying it out.
 */
function getToken(name) {
  return new Promise((resolve, reject) => {
    wx.request({
      url: `${backendURL}/login`,
      method: 'POST',
      data: { name },
      success: ({ statusCode, data }) => {
        if (statusCode === 200) resolve(data.token);
        else reject(new Error((data && data.error) || `the backend answered ${statusCode}`));
      },
      fail: ({ errMsg }) => reject(new Error(`the backend could not be reached: ${errMsg}`)),
    });
  });
}

module.exports = { getToken };
